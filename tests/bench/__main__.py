"""Measures the appliance against bare Temporal and against Airflow; prints a Markdown table.

    python -m tests.bench [--runs 5] [--airflow-runs 5] [--readme] [--image]

Every figure is a median. Runs are timed by the engines' own account of start and end, commands
by the clock on the wall. With ``--readme`` the table also goes into README.md. With ``--image``
the container image that was built last is measured instead.
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
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from temporalio.client import Client

from tests.bench import bare, image, scheduling
from tests.bench.memory import pss_mb
from tests.bench.rival import SLOTS, running_airflow
from tests.bench.table import Figures, markdown
from tests.box import RunningBox, running_box

DAGS = Path(__file__).parent / "dags"
README = Path(__file__).parents[2] / "README.md"
CHAIN = 50
FAN = 100
SETTLE_S = 15.0
"""How long a system is left alone before its memory is read."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--airflow-runs", type=int, default=5)
    parser.add_argument("--readme", action="store_true")
    parser.add_argument("--image", action="store_true")
    asked = parser.parse_args()
    if asked.image:
        print(image.table(asked.runs))
        return
    figures = Figures()
    figures.mapped_pass_ms = scheduling.pass_ms(scheduling.MAPPED)
    figures.separate_pass_ms = scheduling.pass_ms(scheduling.SEPARATE)
    figures.loads.append(os.getloadavg()[0])
    with _folder() as folder:
        _measure_appliance(figures, folder, asked.runs)
    figures.loads.append(os.getloadavg()[0])
    if asked.airflow_runs:
        with _folder() as folder:
            _measure_airflow(figures, folder, asked.airflow_runs)
        figures.loads.append(os.getloadavg()[0])
    text = markdown(figures)
    print(text)
    if asked.readme:
        _put_into_readme(text)


def _measure_appliance(figures: Figures, folder: Path, runs: int) -> None:
    configuration = folder / "appliance.yaml"
    configuration.write_text(f"worker:\n  parallelism: {SLOTS}\n")
    environ = {"APPLIANCE_CONF": str(configuration)}
    with running_box(dags=DAGS, folder=folder, environ=environ) as box:
        address = f"127.0.0.1:{box.environ['APPLIANCE_PORT']}"
        time.sleep(SETTLE_S)
        figures.memory_mb = pss_mb([box.process.pid])
        with _bare_worker(address):
            asyncio.run(_alternate(figures, box, address, runs))
        time.sleep(SETTLE_S)
        figures.memory_used_mb = pss_mb([box.process.pid])


async def _alternate(
    figures: Figures, box: RunningBox, address: str, runs: int
) -> None:
    """Measure each thing once a round, so that a busy moment touches all of them."""
    client = await Client.connect(address)
    chains, bares, fans, submits = [], [], [], []
    for number in range(runs + 1):
        chains.append(await _run_s(client, _submit(box, "bench_chain")[0]))
        handle = await client.start_workflow(
            bare.WORKFLOW, CHAIN, id=f"bare-{number}", task_queue=bare.QUEUE
        )
        bares.append(await _run_s(client, handle.id))
        fans.append(await _run_s(client, _submit(box, "bench_fan")[0]))
        workflow, took_s = _submit(box, "bench_one")
        submits.append(took_s)
        await _run_s(client, workflow)
        _progress(f"round {number}: chain {chains[-1]:.2f} s, bare {bares[-1]:.2f} s, ")
        _progress(f"fan {fans[-1]:.2f} s, submit {submits[-1]:.2f} s\n")
    # The first round warms everything up.
    figures.chain_ms = median(chains[1:]) / CHAIN * 1000
    figures.bare_ms = median(bares[1:]) / CHAIN * 1000
    figures.fan_per_s = FAN / median(fans[1:])
    figures.submit_s = median(submits[1:])


def _measure_airflow(figures: Figures, folder: Path, runs: int) -> None:
    with running_airflow(dags=DAGS, folder=folder) as airflow:
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


def _submit(box: RunningBox, dag_id: str) -> tuple[str, float]:
    """Submit a run; return its workflow id and the seconds the command took."""
    began = time.monotonic()
    submitted = box.submit(dag_id, "-o", "json")
    took_s = time.monotonic() - began
    assert submitted.code == 0, submitted.stderr
    return str(submitted.json["workflow_id"]), took_s


async def _run_s(client: Client, workflow_id: str) -> float:
    """Wait for the end of a workflow; return how long it took by the server's account."""
    handle = client.get_workflow_handle(workflow_id)
    await handle.result()
    seen = await handle.describe()
    assert seen.close_time is not None
    return (seen.close_time - seen.start_time).total_seconds()


@contextmanager
def _bare_worker(address: str) -> Iterator[None]:
    worker = subprocess.Popen([sys.executable, "-m", "tests.bench.bare", address])
    try:
        yield
    finally:
        worker.terminate()
        worker.wait()


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="appliance-bench-") as folder:
        yield Path(folder)


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
