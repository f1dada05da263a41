"""Measures the appliance, where it can be beside bare Temporal and Airflow; prints one Markdown table.

    python -m tests.bench [--runs 5] [--files 1000] [--waits 1000] [--tries 100] [--airflow-runs 5]
        [--readme] [--image]

How many runs a figure is the median of is told below the table. Runs are timed by the engines' own account
of start and end, commands by the clock on the wall. One part is measured after the other: the appliance,
what it costs that runs know of each other, a folder of many DAG files, many deferred waits, the care that zygotes take
of their memory, Airflow. What is
asked for 0 times is left out. With ``--readme`` the table also goes into README.md. With ``--image`` the
container image that was built last is measured instead.
"""

import argparse
import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from statistics import median

from temporalio.client import Client

from tests.bench import bare, entities, folder, fork_cost, image, scheduling, waits
from tests.bench.memory import pss_mb
from tests.bench.rival import SLOTS, running_airflow
from tests.bench.runs import CHAIN, address, run_s, submit
from tests.bench.table import Figures, markdown
from tests.box import RunningBox, running_box

DAGS = Path(__file__).parent / "dags"
README = Path(__file__).parents[2] / "README.md"
FAN = 100
SETTLE_S = 15.0
"""How long a system is left alone before its memory is read."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--waits", type=int, default=1000)
    parser.add_argument("--tries", type=int, default=100)
    parser.add_argument("--airflow-runs", type=int, default=5)
    parser.add_argument("--readme", action="store_true")
    parser.add_argument("--image", action="store_true")
    asked = parser.parse_args()
    if asked.image:
        print(image.table(asked.runs))
        return
    parts = (
        (_measure_appliance, asked.runs),
        (_measure_entities, asked.runs),
        (_measure_folder, asked.files),
        (_measure_waits, asked.waits),
        (_measure_forks, asked.tries),
        (_measure_airflow, asked.airflow_runs),
    )
    figures = Figures(asked.runs, asked.airflow_runs, loads=[os.getloadavg()[0]])
    for measure, count in parts:
        if count:
            measure(figures, count)
            figures.loads.append(os.getloadavg()[0])
    text = markdown(figures)
    print(text)
    if asked.readme:
        _put_into_readme(text)


def _measure_appliance(figures: Figures, runs: int) -> None:
    figures.mapped_pass_ms = scheduling.pass_ms(scheduling.MAPPED)
    figures.separate_pass_ms = scheduling.pass_ms(scheduling.SEPARATE)
    with _box() as box:
        time.sleep(SETTLE_S)
        figures.memory_mb = pss_mb([box.process.pid])
        with _bare_worker(address(box)):
            asyncio.run(_alternate(figures, box, runs))
        time.sleep(SETTLE_S)
        figures.memory_used_mb = pss_mb([box.process.pid])


def _measure_entities(figures: Figures, runs: int) -> None:
    with _box(entities.CONFIGURATION) as box:
        figures.costs = asyncio.run(entities.measure(box, runs))


def _measure_folder(figures: Figures, files: int) -> None:
    # In a process of its own, whose memory no other part has grown.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        figures.looks = fresh.submit(folder.measure, files).result()


def _measure_waits(figures: Figures, count: int) -> None:
    with _folder() as place, running_box(dags=DAGS, folder=place) as box:
        figures.waits = asyncio.run(waits.measure(box, place, count))


def _measure_forks(figures: Figures, tries: int) -> None:
    figures.forks = asyncio.run(fork_cost.measure(tries))


async def _alternate(figures: Figures, box: RunningBox, runs: int) -> None:
    """Measure each thing once a round, so that a busy moment touches all of them."""
    client = await Client.connect(address(box))
    chains, bares, fans, submits = [], [], [], []
    for number in range(runs + 1):
        chains.append(await run_s(client, submit(box, "bench_chain")[0]))
        handle = await client.start_workflow(
            bare.WORKFLOW, CHAIN, id=f"bare-{number}", task_queue=bare.QUEUE
        )
        bares.append(await run_s(client, handle.id))
        fans.append(await run_s(client, submit(box, "bench_fan")[0]))
        workflow, took_s = submit(box, "bench_one")
        submits.append(took_s)
        await run_s(client, workflow)
        _progress(f"round {number}: chain {chains[-1]:.2f} s, bare {bares[-1]:.2f} s, ")
        _progress(f"fan {fans[-1]:.2f} s, submit {submits[-1]:.2f} s\n")
    # The first round warms everything up.
    figures.chain_ms = median(chains[1:]) / CHAIN * 1000
    figures.bare_ms = median(bares[1:]) / CHAIN * 1000
    figures.fan_per_s = FAN / median(fans[1:])
    figures.submit_s = median(submits[1:])


def _measure_airflow(figures: Figures, runs: int) -> None:
    with _folder() as place, running_airflow(dags=DAGS, folder=place) as airflow:
        time.sleep(SETTLE_S)
        figures.airflow_memory_mb = pss_mb(airflow.pids)
        airflow.trigger("bench_one", "warm")
        airflow.duration_s("bench_one", "warm")
        chains, fans, triggers = [], [], []
        for number in range(runs):
            run_id = f"run{number}"
            airflow.trigger("bench_chain", run_id)
            chains.append(airflow.duration_s("bench_chain", run_id))
            airflow.trigger("bench_fan", run_id)
            fans.append(airflow.duration_s("bench_fan", run_id))
            triggers.append(airflow.trigger("bench_one", run_id))
            airflow.duration_s("bench_one", run_id)
            _progress(f"Airflow {number}: chain {chains[-1]:.1f} s, ")
            _progress(f"fan {fans[-1]:.1f} s, trigger {triggers[-1]:.2f} s\n")
        time.sleep(SETTLE_S)
        figures.airflow_memory_used_mb = pss_mb(airflow.pids)
    figures.airflow_chain_ms = median(chains) / CHAIN * 1000
    figures.airflow_fan_per_s = FAN / median(fans)
    figures.airflow_trigger_s = median(triggers)


@contextmanager
def _box(configuration: str = "") -> Iterator[RunningBox]:
    """Start an appliance with as many slots as Airflow has, and stop it in the end."""
    with _folder() as place:
        file = place / "appliance.yaml"
        file.write_text(f"worker:\n  parallelism: {SLOTS}\n{configuration}")
        environ = {"APPLIANCE_CONF": str(file)}
        with running_box(dags=DAGS, folder=place, environ=environ) as box:
            yield box


@contextmanager
def _bare_worker(server: str) -> Iterator[None]:
    worker = subprocess.Popen([sys.executable, "-m", "tests.bench.bare", server])
    try:
        yield
    finally:
        worker.terminate()
        worker.wait()


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="appliance-bench-") as place:
        yield Path(place)


def _put_into_readme(text: str) -> None:
    begin, end = "<!-- bench: begin -->\n", "<!-- bench: end -->"
    old = README.read_text()
    new = re.sub(f"{begin}.*?{end}", lambda _: begin + text + end, old, flags=re.S)
    README.write_text(new)


def _progress(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


if __name__ == "__main__":
    main()
