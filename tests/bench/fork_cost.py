"""Measures what a zygote's care of its memory brings: a try with all of it, and without each part.

Each case is a zygote of its own that leaves one part out, and the cases take turns. Between tries is a pause, as a
task that is due usually finds a child waiting. As a program this module is such a zygote.
"""

import asyncio
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from appliance.dagrun.states import TaskState
from appliance.forkserver import datagrams, immortal_objects, memory, zygote
from appliance.forkserver.control import Child, Zygote
from appliance.taskrun.prefork import PreforkedChildren
from tests.taskrun.conftest import DAGS, Box, zygote_env

ALL = "nothing"
_WHERE: Mapping[str, tuple[object, str]] = {
    "immortal objects": (immortal_objects, "make_immortal"),
    "huge pages": (memory, "use_huge_pages"),
    "footprints": (memory.Footprints, "leave"),
}
PARTS = tuple(_WHERE)
"""What a case may leave out."""
_TASK = "pid"
_PAUSE_S = 0.12
_WARM = 10
"""First tries of a case, which are not counted."""
_BURIAL_S = 0.5
_CMINFLT, _CUTIME = 8, 13
"""Places in ``/proc/PID/stat`` after the name: page faults, and CPU ticks, of children that have ended."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one try: the median time, and the mean of the rest."""

    clock_ms: float = math.nan
    cpu_ms: float = math.nan
    faults: float = math.nan


@dataclass(frozen=True, slots=True)
class ForkCosts:
    """The cost of a try by what is left out."""

    by_case: Mapping[str, Cost] = field(default_factory=dict)

    def without(self, part: str) -> Cost:
        """Return the cost without a part, or without ``nothing``."""
        return self.by_case.get(part, Cost())


@dataclass(frozen=True, slots=True)
class _Case:
    box: Box
    dag_zygote: Child
    times_ms: list[float] = field(default_factory=list)

    async def run_one(self) -> None:
        await asyncio.sleep(_PAUSE_S)
        begin = time.monotonic()
        result = await self.box.run(_TASK)
        self.times_ms.append((time.monotonic() - begin) * 1000)
        assert result.state == TaskState.SUCCESS

    def ended(self) -> tuple[int, int]:
        """Return page faults and CPU ticks of its children that have ended."""
        stat = Path(f"/proc/{self.dag_zygote.pid}/stat").read_text()
        of = stat.rpartition(") ")[2].split()
        return int(of[_CMINFLT]), int(of[_CUTIME]) + int(of[_CUTIME + 1])


async def measure(tries: int) -> ForkCosts:
    """Run ``tries`` of an almost empty task in each case."""
    with tempfile.TemporaryDirectory(prefix="appliance-bench-") as place:
        cases = {name: await _start(name, Path(place)) for name in (ALL, *PARTS)}
        await _rounds(cases.values(), _WARM)
        before = {name: case.ended() for name, case in cases.items()}
        await _rounds(cases.values(), tries)
        costs = {name: _cost(case, before[name], tries) for name, case in cases.items()}
        for case in cases.values():
            await case.box.preforked.close()
            case.box.base.close()
    return ForkCosts(costs)


async def _rounds(cases: Iterable[_Case], count: int) -> None:
    for _ in range(count):
        for case in cases:
            await case.run_one()
    await asyncio.sleep(_BURIAL_S)


def _cost(case: _Case, before: tuple[int, int], tries: int) -> Cost:
    faults, ticks = case.ended()
    cpu_s = (ticks - before[1]) / os.sysconf("SC_CLK_TCK")
    return Cost(
        clock_ms=median(case.times_ms[-tries:]),
        cpu_ms=cpu_s * 1000 / tries,
        faults=(faults - before[0]) / tries,
    )


async def _start(name: str, place: Path) -> _Case:
    ours, theirs = datagrams.pair()
    with theirs, os.fdopen(os.memfd_create("said"), "r+b") as said:
        fds = [theirs.fileno(), said.fileno()]
        command = [sys.executable, "-m", "tests.bench.fork_cost", name]
        subprocess.Popen(  # noqa: ASYNC220 - it ends with its channel
            [*command, *map(str, fds), "appliance.taskrun.child"],
            pass_fds=fds,
            env=zygote_env(place),
        )
    base = Zygote.adopt(ours)
    await base.ready()
    dag_zygote, dags = await base.fork_zygote(
        "tests.fakes.dag_zygote:read", {"path": str(DAGS / "tries.py")}
    )
    await dags.ready()
    box = Box(data=place, base=base, zygote=dags, preforked=PreforkedChildren())
    return _Case(box, dag_zygote)


def _nothing(*_: object) -> None:
    """Stand for what is left out."""


def main() -> None:
    """Be the zygote that leaves out what the first argument names."""
    if (left_out := sys.argv.pop(1)) != ALL:
        setattr(*_WHERE[left_out], _nothing)
    zygote.main()


if __name__ == "__main__":
    main()
