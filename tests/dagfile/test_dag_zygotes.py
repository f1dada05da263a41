"""How many files are held open, and for how long: as the memory allows."""

import asyncio
from functools import partial
from pathlib import Path

import pytest

from appliance.config.machine_limits import Machine
from appliance.dagfile.dag_zygotes import DagZygotes, most_held
from appliance.dagfile.models import OpenFile
from appliance.forkserver.control import Zygote
from tests.forkserver.test_zygote import nested, sleeper

pytestmark = [
    pytest.mark.needs_airflow,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(60),
]

GB = 1 << 30
MEMORY = ((GB // 4, 2), (GB, 4), (2 * GB, 9), (8 * GB, 16))


@pytest.mark.parametrize(("memory", "most"), MEMORY)
async def test_the_number_follows_the_memory(memory: int, most: int) -> None:
    assert most_held(Machine(cpus=2, memory_bytes=memory)) == most


class Box:
    """Files held by a clock and a memory of its own."""

    def __init__(self, zygote: Zygote) -> None:
        self._zygote = zygote
        self.now = 0.0
        self.free = 1.0
        self.files = DagZygotes(
            max_age_s=30.0,
            most=16,
            clock=lambda: self.now,
            memory_left=lambda: self.free,
        )

    async def _start(self, file: str) -> OpenFile:
        _, zygote = await nested(self._zygote)
        return OpenFile(file, file, "", zygote)

    async def open(self, file: str) -> Zygote:
        return (await self.files.open(file, "", partial(self._start, file))).zygote

    async def tidied(self, now: float) -> None:
        self.now = now
        self.files.tidy()


async def test_who_is_idle_goes_when_it_is_no_good_or_after_minutes_if_there_is_memory(
    zygote: Zygote, tmp_path: Path
) -> None:
    box = Box(zygote)
    idle, busy = await box.open("idle"), await box.open("busy")
    child, _ = await sleeper(busy, tmp_path / "pid")

    box.free = 0.4
    await box.tidied(29.0)
    again = (await box.open("idle"), await box.open("busy"))
    assert again == (idle, busy)

    await box.tidied(59.0)
    await asyncio.wait_for(idle.retired, 20)
    assert not busy.retired.done()
    child.kill(9)
    await child.exited()
    box.files.close()


async def test_with_memory_to_spare_it_stays_for_five_minutes(zygote: Zygote) -> None:
    box = Box(zygote)
    idle = await box.open("idle")

    await box.tidied(299.0)
    assert await box.open("other") is not idle
    assert "idle" in box.files._held
    await box.tidied(300.0)
    assert "idle" not in box.files._held

    box.files.close()
    idle.close()
