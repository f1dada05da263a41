"""A folder of many DAG files: how long the first look takes, the next one, and one after a file was saved.

    python -m tests.bench.folder [--files 1000]

Seconds on the clock, seconds of CPU of all processes, and the memory of this process and what it forks from.
"""

import argparse
import asyncio
import math
import os
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

from appliance.config.environment import airflow_environment
from appliance.config.model import Config, DagSettings, Secrets
from appliance.dagfile.folder import DagFolder
from appliance.dagfile.readers import PRELOAD
from appliance.reconcile.declarations import wanted
from appliance.taskrun.secrets import ParseAnswers
from appliance.warm.control import Zygote, shield_from_children
from tests.bench.memory import pss_mb, tree
from tests.fakes.vaults import FakeVault

_T = TypeVar("_T")

DAG = '''"""One of many."""
from datetime import UTC, datetime
from airflow.sdk import DAG
from airflow.providers.standard.operators.bash import BashOperator

with DAG("many_{0}", schedule="{1} * * * *", start_date=datetime(2026, 1, 1, tzinfo=UTC)):
    BashOperator(task_id="a", bash_command="true") >> BashOperator(task_id="b", bash_command="true")
'''


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", type=int, default=1000)
    asked = parser.parse_args()
    shield_from_children()
    with tempfile.TemporaryDirectory(prefix="appliance-folder-") as place:
        asyncio.run(measure(Path(place), asked.files))


async def measure(place: Path, files: int) -> None:
    """Fill a folder and look at it three times."""
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
    before = pss_mb([os.getpid()])
    listing = await _timed("first pass", folder.listing(math.inf))
    await _timed("again, nothing changed", folder.listing(math.inf))
    (dags / "many_0.py").write_text(DAG.format(0, 7))
    await _timed("again, one file saved", folder.listing(math.inf))
    declared = wanted(listing, config).declarations
    after = pss_mb([os.getpid()])
    print(f"{len(declared)} schedules of {files} files")
    print(f"memory: {after:.0f} MiB, {after - before:.1f} MiB more than before")
    folder.close()
    zygote.close()


async def _timed(what: str, work: Awaitable[_T]) -> _T:
    began, cpu = time.monotonic(), _cpu_s()
    found = await work
    took_s, took_cpu_s = time.monotonic() - began, _cpu_s() - cpu
    print(f"{what}: {took_s:.2f} s, {took_cpu_s:.2f} s of CPU")
    return found


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


if __name__ == "__main__":
    main()
