"""Kill anything, lose nothing: each test ends something while a task runs."""

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from appliance.sockets.health_client import ask
from tests.box import RunningBox, running_box
from tests.faults.processes import family, is_alive, the_one, until

pytestmark = [pytest.mark.needs_server, pytest.mark.timeout(240)]

DAGS = Path(__file__).parent / "dags"
SLOTS = 4
SERVER = "temporal server start-dev"
WORKER = "appliance worker"
ZYGOTE = "appliance.forkserver.zygote"


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBox]:
    folder = tmp_path_factory.mktemp("faults")
    conf = folder / "appliance.yaml"
    conf.write_text(f"worker: {{parallelism: {SLOTS}}}\n")
    environ = {"APPLIANCE_CONF": str(conf)}
    with running_box(dags=DAGS, folder=folder, environ=environ) as started:
        yield started


class Run:
    """One run of a DAG whose task has begun and waits."""

    def __init__(self, box: RunningBox, dag_id: str, folder: Path, task: str) -> None:
        self.box = box
        self.dag_id = dag_id
        self.folder = folder
        self.task = task
        conf = json.dumps({"folder": str(folder)})
        done = box.submit(dag_id, "--conf", conf, "-o", "json")
        assert done.code == 0, done.stderr
        self.run_id = done.json["run_id"]
        until(f"{task} begins", lambda: self.tries == 1)

    @property
    def pids(self) -> list[int]:
        return self.pids_of(self.task)

    def pids_of(self, task: str) -> list[int]:
        """Return the processes of all instances and tries of a task so far."""
        began = self.folder / f"{task}.began"
        return [int(pid) for pid in began.read_text().split()] if began.exists() else []

    @property
    def tries(self) -> int:
        return len(self.pids)

    def let_go(self) -> None:
        (self.folder / "open").touch()

    def end(self) -> tuple[int, dict[str, Any], dict[str, Any]]:
        """Return the exit code, the report, and the row of the task."""
        done = self.box.appliance(
            "runs", "wait", self.dag_id, self.run_id, "-o", "json", timeout_s=120
        )
        assert done.stdout, done.stderr
        rows = {row["task_id"]: row for row in done.json["tasks"]}
        return done.code, done.json, rows[self.task]


def test_a_killed_worker_costs_a_try_and_not_the_run(
    box: RunningBox, tmp_path: Path
) -> None:
    run = Run(box, "gated", tmp_path, "waits")

    os.kill(the_one(box.process.pid, WORKER), signal.SIGKILL)
    until("the task is run again", lambda: run.tries == 2)
    run.let_go()

    code, report, row = run.end()
    assert (code, report["state"]) == (0, "success")
    assert (row["state"], row["try_number"]) == ("success", 2)


def test_a_worker_that_is_told_to_stop_lets_tries_end(
    box: RunningBox, tmp_path: Path
) -> None:
    run = Run(box, "gated", tmp_path, "waits")

    os.kill(the_one(box.process.pid, WORKER), signal.SIGTERM)
    until("it has heard", lambda: not _is_answering(box))
    run.let_go()

    code, report, row = run.end()
    assert (code, report["state"]) == (0, "success")
    assert (row["try_number"], run.tries) == (1, 1)


def test_a_killed_server_loses_nothing(box: RunningBox, tmp_path: Path) -> None:
    run = Run(box, "gated", tmp_path, "waits")

    os.kill(the_one(box.process.pid, SERVER), signal.SIGKILL)
    run.let_go()

    code, report, row = run.end()
    assert (code, report["state"]) == (0, "success")
    assert (row["try_number"], run.tries) == (1, 1)


def test_a_task_whose_process_is_killed_fails_and_says_by_what(
    box: RunningBox, tmp_path: Path
) -> None:
    run = Run(box, "gated", tmp_path, "waits")

    os.kill(run.pids[0], signal.SIGKILL)

    code, report, row = run.end()
    assert (code, report["state"]) == (1, "failed")
    assert (row["state"], row["try_number"]) == ("failed", 1)
    logs = box.appliance("logs", "gated", run.run_id, "waits")
    assert "SIGKILL" in logs.stdout


def test_a_killed_zygote_fails_running_tries_and_is_started_again(
    box: RunningBox, tmp_path: Path
) -> None:
    run = Run(box, "gated_with_retry", tmp_path, "waits")

    os.kill(the_one(box.process.pid, ZYGOTE), signal.SIGKILL)
    until("the task is run again", lambda: run.tries == 2)
    run.let_go()

    code, report, row = run.end()
    assert (code, report["state"]) == (0, "success")
    assert row["try_number"] == 2


def test_cancelling_a_run_stops_its_task_and_calls_on_kill(
    box: RunningBox, tmp_path: Path
) -> None:
    run = Run(box, "gated_killable", tmp_path, "killable")

    done = box.appliance("cancel", "gated_killable", run.run_id)

    assert done.code == 0, done.stderr
    code, report, row = run.end()
    assert (code, report["state"], row["state"]) == (1, "failed", "failed")
    assert (tmp_path / "killed").read_text() == "on_kill was called"
    assert not Path(f"/proc/{run.pids[0]}").exists()


def test_a_cancelled_run_ends_as_airflow_marks_it_failed(
    box: RunningBox, tmp_path: Path
) -> None:
    """What ran has failed, what was queued or waited is skipped, and what was set up is torn down."""
    run = Run(box, "gated_crowd", tmp_path, "interrupted")
    begun = SLOTS - 1
    until("all slots are taken", lambda: len(run.pids_of("waits")) == begun)

    done = box.appliance("cancel", "gated_crowd", run.run_id)

    assert done.code == 0, done.stderr
    code, report, row = run.end()
    states = [(r["task_id"], r["state"]) for r in report["tasks"]]
    assert (code, report["state"], row["state"]) == (1, "failed", "failed")
    assert states.count(("waits", "failed")) == begun
    assert states.count(("waits", "skipped")) == 40 - begun
    assert {("up", "success"), ("later", "skipped"), ("down", "success")} < set(states)
    assert len(run.pids_of("waits")) == begun
    assert len(run.pids_of("down")) == 1
    assert (tmp_path / "called_back").read_text() == "interrupted"


def test_a_terminated_run_stops_its_task_and_is_reported_failed(
    box: RunningBox, tmp_path: Path
) -> None:
    """Terminate leaves the run no moment to tear anything down; the worker finds out and stops the tasks."""
    run = Run(box, "gated_crowd", tmp_path, "interrupted")

    asyncio.run(terminate(box, run))

    code, report, row = run.end()
    assert (code, report["state"], row["state"]) == (1, "failed", "failed")
    assert {r["state"] for r in report["tasks"]} == {"success", "failed", "skipped"}
    pids = [*run.pids, *run.pids_of("waits")]
    until("its processes end", lambda: not any(map(is_alive, pids)))
    assert (tmp_path / "called_back").read_text() == "interrupted"
    assert not run.pids_of("down")


@pytest.mark.long
def test_a_stopped_appliance_takes_its_runs_up_again(tmp_path: Path) -> None:
    with running_box(dags=DAGS, folder=tmp_path) as box:
        run = Run(box, "gated", tmp_path, "waits")
    assert box.process.returncode == 0

    with running_box(dags=DAGS, folder=tmp_path) as box:
        run.box = box
        until("the task is run again", lambda: run.tries == 2)
        run.let_go()
        code, report, row = run.end()

    assert (code, report["state"], row["try_number"]) == (0, "success", 2)


@pytest.mark.long
def test_a_box_that_sleeps_longer_than_a_lease_fails_no_try(
    box: RunningBox, tmp_path: Path
) -> None:
    run = Run(box, "gated", tmp_path, "waits")
    asleep = list(family(box.process.pid))

    for pid in asleep:
        os.kill(pid, signal.SIGSTOP)
    time.sleep(65)  # longer than the lease; there is nothing to wait for
    for pid in reversed(asleep):
        os.kill(pid, signal.SIGCONT)
    run.let_go()

    code, report, row = run.end()
    assert (code, report["state"]) == (0, "success")
    assert (row["try_number"], run.tries) == (1, 1)


@pytest.mark.long
def test_a_killed_supervisor_leaves_nothing_behind(tmp_path: Path) -> None:
    with running_box(dags=DAGS, folder=tmp_path) as box:
        run = Run(box, "gated", tmp_path, "waits")
        below = family(box.process.pid)
        os.kill(box.process.pid, signal.SIGKILL)
        until("all its processes end", lambda: not any(map(is_alive, below)))

    with running_box(dags=DAGS, folder=tmp_path) as box:
        run.box = box
        run.let_go()
        code, report, _ = run.end()

    assert (code, report["state"]) == (0, "success")


def _is_answering(box: RunningBox) -> bool:
    try:
        ask(box.data / "run" / socket.gethostname())
    except (OSError, ValueError):
        return False
    return True


async def terminate(box: RunningBox, run: Run) -> None:
    """Terminate a run as the Temporal UI does."""
    client = await Client.connect(f"127.0.0.1:{box.environ['APPLIANCE_PORT']}")
    handle = client.get_workflow_handle(f"dag-{run.dag_id}-{run.run_id}")
    await handle.terminate("enough")
