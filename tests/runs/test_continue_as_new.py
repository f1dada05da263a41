"""A run with a long history goes on in fresh workflow runs, and nothing of it is lost or run twice."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHistory
from temporalio.worker import Replayer

from appliance.runs.workflow import ExecuteAirflowDagWorkflow
from tests.box import RunningBox, ports, running_box
from tests.faults.processes import the_one, until

pytestmark = [pytest.mark.long, pytest.mark.needs_server, pytest.mark.timeout(240)]

DAGS = Path(__file__).parent / "dags"
WORKER = "appliance worker"
SUGGESTED = "limit.historyCount.suggestContinueAsNew=150"
"""A server that calls histories long at 150 events instead of 4,096."""
LEASE_S = 60.0
"""By then a try is missed that the new worker did not find out about in time."""
RESTART_S = 40.0
"""A worker's start on a busy machine, and 10 s until the server misses the workflow task the last one had."""


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBox]:
    """Give an appliance with a server of its own."""
    folder = tmp_path_factory.mktemp("handover")
    port = ports()["APPLIANCE_PORT"]
    temporal = Path(sys.executable).with_name("temporal")
    command = [str(temporal), "server", "start-dev", "--headless", "--port", port]
    server = subprocess.Popen(
        [*command, "--log-level", "error", "--dynamic-config-value", SUGGESTED],
        stdout=subprocess.DEVNULL,
    )
    address = {"TEMPORAL_ADDRESS": f"127.0.0.1:{port}"}
    try:
        with running_box(dags=DAGS, folder=folder, environ=address) as started:
            yield started
    finally:
        server.terminate()
        server.wait(20)


class Run:
    """One run of ``handed_over`` that has been handed over once."""

    def __init__(self, box: RunningBox, folder: Path) -> None:
        self.box = box
        self.folder = folder
        conf = json.dumps({"folder": str(folder)})
        done = box.submit("handed_over", "--conf", conf, "-o", "json")
        assert done.code == 0, done.stderr
        self.run_id: str = done.json["run_id"]
        self.workflow_id: str = done.json["workflow_id"]
        until("it is handed over", lambda: len(self.histories()) > 1)

    def times(self, name: str) -> int:
        file = self.folder / name
        return len(file.read_text().splitlines()) if file.exists() else 0

    def histories(self) -> list[WorkflowHistory]:
        """Return the history of each of its workflow runs, the first one first."""
        return asyncio.run(self._histories())

    async def _histories(self) -> list[WorkflowHistory]:
        client = await Client.connect(self.box.environ["TEMPORAL_ADDRESS"])
        query = f"WorkflowId = '{self.workflow_id}'"
        seen = [one async for one in client.list_workflows(query)]
        seen.sort(key=lambda one: one.start_time)
        return [
            await client.get_workflow_handle(
                self.workflow_id, run_id=one.run_id
            ).fetch_history()
            for one in seen
        ]

    def end(self) -> tuple[int, dict[str, Any], dict[str, dict[str, Any]]]:
        """Return the exit code, the report, and its rows."""
        words = ("handed_over", self.run_id, "-o", "json")
        done = self.box.appliance("runs", "wait", *words, timeout_s=150)
        assert done.stdout, done.stderr
        rows = {
            f"{row['task_id']}[{row['map_index']}]": row for row in done.json["tasks"]
        }
        return done.code, done.json, rows


def test_a_long_run_is_handed_over_with_its_tries_values_and_timers(
    box: RunningBox, tmp_path: Path
) -> None:
    run = Run(box, tmp_path)
    until("all but one have ended", lambda: run.times("double-39") == 1)
    (tmp_path / "open").touch()

    code, report, rows = run.end()

    assert (code, report["state"]) == (0, "success")
    assert run.times("waits") == 1
    assert rows["waits[-1]"]["try_number"] == 1
    assert rows["waits[-1]"]["start_date"] < rows["double[39]"]["start_date"]
    for number in range(40):
        tries = 2 if number % 10 == 3 else 1
        assert run.times(f"double-{number}") == tries
        assert rows[f"double[{number}]"]["try_number"] == tries
    assert run.times("poked") == 4
    assert run.times("total") == run.times("clean") == 1
    assert run.times("deferred") == run.times("resumed") == 1
    found = box.appliance("xcoms", "handed_over", run.run_id, "-o", "json").json
    returned = {row["task_id"]: row["value"] for row in found if row["map_index"] < 0}
    assert returned["total"] == [1560, "waited"]
    assert returned["deferred"] == "kept"
    assert rows["moment[-1]"]["state"] == "success"


def test_its_histories_stay_short_and_can_be_replayed(
    box: RunningBox, tmp_path: Path
) -> None:
    run = Run(box, tmp_path)
    (tmp_path / "open").touch()
    assert run.end()[0] == 0

    histories = run.histories()

    assert len(histories) > 1
    assert all(len(history.events) < 400 for history in histories)
    replayer = Replayer(workflows=[ExecuteAirflowDagWorkflow])
    for history in histories:
        asyncio.run(replayer.replay_workflow(history))
    listed = box.appliance("runs", "list", "handed_over", "-o", "json").json
    (row,) = (row for row in listed if row["run_id"] == run.run_id)
    assert row["state"] == "success"
    began = histories[0].events[0].event_time.ToDatetime(tzinfo=UTC)
    assert row["start_date"] == began.isoformat()


def test_cancelling_after_a_handover_stops_the_tries_that_were_carried_on(
    box: RunningBox, tmp_path: Path
) -> None:
    run = Run(box, tmp_path)
    pid = int((tmp_path / "waits").read_text())

    done = box.appliance("cancel", "handed_over", run.run_id)

    assert done.code == 0, done.stderr
    code, report, rows = run.end()
    assert (code, report["state"]) == (1, "failed")
    assert rows["waits[-1]"]["state"] == "failed"
    # Cancelled before its new lease began, it is stopped when the worker hears of it.
    gone = f"the process {pid} is gone"
    until(gone, lambda: not Path(f"/proc/{pid}").exists(), patience_s=15)
    assert run.times("clean") == 1


def test_a_worker_killed_after_a_handover_costs_each_try_once(
    box: RunningBox, tmp_path: Path
) -> None:
    run = Run(box, tmp_path)

    os.kill(the_one(box.process.pid, WORKER), signal.SIGKILL)
    until(
        "the task is run again",
        lambda: run.times("waits") == 2,
        patience_s=LEASE_S + RESTART_S,
    )
    (tmp_path / "open").touch()

    code, report, rows = run.end()
    assert (code, report["state"]) == (0, "success")
    assert rows["waits[-1]"]["try_number"] == 2
    assert run.times("waits") == 2
