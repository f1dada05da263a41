"""A folder of many DAG files: how long the first look takes, the next one, and one after a file was saved."""

import asyncio
import math
import os
import tempfile
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from appliance.config.airflow_environment import airflow_environment
from appliance.config.model import Config, DagSettings, Secrets
from appliance.dagfile.folder import DagFolder
from appliance.dagfile.parse_host import PRELOAD
from appliance.forkserver.control import Zygote
from appliance.schedules.declarations import wanted_schedules
from appliance.taskrun.secrets import ParseAnswers
from tests.bench.memory import pss_mb, tree
from tests.fakes.kv_stores import FakeVault

_T = TypeVar("_T")

DAG = '''"""One of many."""
from datetime import UTC, datetime
from airflow.sdk import DAG
from airflow.providers.standard.operators.bash import BashOperator

with DAG("many_{0}", schedule="{1} * * * *", start_date=datetime(2026, 1, 1, tzinfo=UTC)):
    BashOperator(task_id="a", bash_command="true") >> BashOperator(task_id="b", bash_command="true")
'''


@dataclass(frozen=True, slots=True)
class Took:
    """What a pass took: time on the clock, and CPU time of all processes."""

    clock_s: float = math.nan
    cpu_s: float = math.nan


@dataclass(frozen=True, slots=True)
class Looks:
    """Three looks at a folder; NaN for what was not measured."""

    files: int = 0
    first: Took = Took()
    unchanged: Took = Took()
    saved: Took = Took()
    """After one of the files was saved."""
    more_mb: float = math.nan
    """Memory of the process that looks and of what it forks from, more than before the first look."""


def measure(files: int) -> Looks:
    """Fill a folder and look at it three times; in a process that has done nothing else, whose memory tells."""
    with tempfile.TemporaryDirectory(prefix="appliance-folder-") as place:
        return asyncio.run(_look(Path(place), files))


async def _look(place: Path, files: int) -> Looks:
    dags = place / "dags"
    dags.mkdir()
    for number in range(files):
        (dags / f"many_{number}.py").write_text(DAG.format(number, number % 60))
    settings = DagSettings(folder=dags, plugins_folder=place / "plugins")
    config = Config(file=place / "a.yaml", data=place / "data", dags=settings)
    environment = {**os.environ, **airflow_environment(config)}
    zygote = await Zygote.start(env=environment, preload=PRELOAD)
    folder = DagFolder(
        root=dags,
        zygote=zygote,
        settings=settings,
        answers=lambda: ParseAnswers(Secrets(), FakeVault(), {}),
        clock=time.monotonic,
    )
    before_mb = pss_mb([os.getpid()])
    listing, first = await _timed(folder.listing())
    _, unchanged = await _timed(folder.listing())
    (dags / "many_0.py").write_text(DAG.format(0, 7))
    _, saved = await _timed(folder.listing())
    declared = wanted_schedules(listing, config).declarations
    more_mb = pss_mb([os.getpid()]) - before_mb
    assert len(declared) == files, f"{len(declared)} schedules of {files} files"
    folder.close()
    zygote.close()
    return Looks(files, first, unchanged, saved, more_mb)


async def _timed(work: Awaitable[_T]) -> tuple[_T, Took]:
    began, cpu_s = time.monotonic(), _cpu_s()
    found = await work
    return found, Took(time.monotonic() - began, _cpu_s() - cpu_s)


def _cpu_s() -> float:
    """Return the CPU time of this process, of those below it, and of those they have reaped."""
    ticks = 0
    for pid in tree(os.getpid()):
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # It has just ended, and its parent has its time.
        ticks += sum(map(int, stat.rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")
