"""Deferred tries wait in the triggerer, or in a timer, and go on as on Airflow."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from tests.box import RunningBox
from tests.faults.processes import the_one, until
from tests.runs.test_runs import Report

pytestmark = [pytest.mark.needs_server, pytest.mark.timeout(180)]

TRIGGERER = "appliance triggerer"
WORKER = "-m appliance worker"
SERVER = "server start-dev"
CANARY = "hunter2-canary"


def test_a_wait_for_a_moment_is_a_timer(box: RunningBox) -> None:
    report = Report(box, "waits_for_moments")

    assert report.states == {"delta": "success", "ends_there": "success"}
    assert "run_trigger" not in history(box, f"dag-waits_for_moments-{report.run_id}")


def test_a_trigger_may_ask_what_a_task_may(box: RunningBox) -> None:
    report = Report(box, "asks")

    assert report.returned("wait") == {
        "host": "example.org",
        "variable": "hello",
        "synchronous": "hello",
        "pulled": 41,
    }


def test_a_trigger_that_fails_fails_its_task(box: RunningBox) -> None:
    report = Report(box, "breaks")

    assert report.states == {"wait": "failed"}
    log = box.appliance("logs", "breaks", report.run_id).stdout
    assert "the trigger broke" in log
    assert "TaskDeferralError" in log


def test_a_wait_that_takes_too_long_fails_its_task(
    box: RunningBox, tmp_path: Path
) -> None:
    run = Waiting(box, "times_out", tmp_path / "file")

    # As on Airflow its trigger is ended, and not killed.
    until("the trigger has ended", lambda: run.notes == ["began", "cleaned up"])
    until(
        "the task fails", lambda: "TaskDeferralTimeout" in history(box, run.workflow_id)
    )
    box.appliance("cancel", run.dag_id, run.run_id)


def test_the_time_limit_of_a_task_ends_its_wait(
    box: RunningBox, tmp_path: Path
) -> None:
    run = Waiting(box, "is_limited", tmp_path / "file")

    ended = box.appliance("runs", "wait", run.dag_id, run.run_id, "-o", "json")

    assert json.loads(ended.stdout)["state"] == "failed"
    assert "AirflowTaskTimeout" in history(box, run.workflow_id)
    until("the trigger has ended", lambda: run.notes == ["began", "cleaned up"])


def test_a_trigger_may_end_its_task(box: RunningBox) -> None:
    report = Report(box, "ends_tasks", "--logical-date", "2026-01-02")

    ended = {end: end for end in ("success", "failed", "skipped")}
    assert report.states == ended
    assert report.returned("success") == 7
    log = box.appliance("logs", "ends_tasks", report.run_id).stdout
    told = [line for line in log.splitlines() if "is told" in line]
    assert [line.split(" | ")[0] for line in told] == ["failed try 1", "failed try 2"]
    assert told[0].endswith("on_retry_callback is told of try 1 on 2026-01-02")
    assert told[1].endswith("on_failure_callback is told of try 2 on 2026-01-02")


def test_a_cancelled_run_lets_callbacks_of_its_tasks_end(
    box: RunningBox, tmp_path: Path
) -> None:
    conf = json.dumps({"place": str(tmp_path)})
    told = box.appliance("submit", "tells_slowly", "--conf", conf, "-o", "json")
    run = ("tells_slowly", json.loads(told.stdout)["run_id"])
    until("the callback was called", (tmp_path / "began").exists)

    box.appliance("cancel", *run)
    assert box.appliance("runs", "wait", *run, "--timeout", "2").code == 124
    (tmp_path / "open").touch()
    ended = box.appliance("runs", "wait", *run, "-o", "json")

    assert (ended.code, json.loads(ended.stdout)["state"]) == (1, "failed")
    assert (tmp_path / "told").exists()


def test_triggers_share_a_stream(box: RunningBox) -> None:
    report = Report(box, "shares")

    assert [report.returned(f"w{n}") for n in range(3)] == [{"opened": 1}] * 3


def test_a_task_may_start_from_its_trigger(box: RunningBox, tmp_path: Path) -> None:
    run = Waiting(box, "starts_from_its_trigger", tmp_path / "file")

    run.fires("-2026-01-02")

    assert run.report["state"] == "success"
    assert run.returned()["ds"] == "2026-01-02"
    assert run.report["tasks"][0]["try_number"] == 1


def test_what_a_wait_holds_is_not_readable(box: RunningBox, tmp_path: Path) -> None:
    run = Waiting(box, "waits_for_a_file", tmp_path / "file")

    run.fires()

    assert run.returned() == {"path": str(tmp_path / "file"), "pair": [1, 2]}
    assert CANARY not in history(box, run.workflow_id)
    assert run.notes == ["began", "fired", "cleaned up"]


def test_a_wait_that_is_cancelled_kills_what_it_waits_for(
    box: RunningBox, tmp_path: Path
) -> None:
    run = Waiting(box, "waits_for_a_file", tmp_path / "file")

    box.appliance("cancel", "waits_for_a_file", run.run_id)

    killed = ["began", "killed", "cleaned up"]
    until("the trigger was killed", lambda: run.notes == killed)


def test_a_triggerer_that_dies_loses_no_wait(box: RunningBox, tmp_path: Path) -> None:
    run = Waiting(box, "waits_for_a_file", tmp_path / "file")

    os.kill(the_one(box.process.pid, TRIGGERER), signal.SIGKILL)
    until("the wait was begun again", lambda: run.notes == ["began", "began"])
    run.fires()

    assert run.report["state"] == "success"
    assert run.notes.count("fired") == 1


def test_a_worker_or_server_that_dies_loses_no_wait(
    box: RunningBox, tmp_path: Path
) -> None:
    run = Waiting(box, "waits_for_a_file", tmp_path / "file")

    os.kill(the_one(box.process.pid, WORKER), signal.SIGKILL)
    until("the wait was begun again", lambda: run.notes.count("began") > 1)
    os.kill(the_one(box.process.pid, SERVER), signal.SIGKILL)
    run.fires()

    assert run.report["state"] == "success"
    assert run.notes.count("fired") == 1
    assert "killed" not in run.notes


class Waiting:
    """A run whose only task waits for a file."""

    def __init__(self, box: RunningBox, dag_id: str, path: Path) -> None:
        self.box, self.dag_id, self.path = box, dag_id, path
        date = ("--logical-date", "2026-01-02")
        done = box.submit(
            dag_id,
            *date,
            "--run-id",
            path.parent.name,
            "--conf",
            f'{{"path": "{path}"}}',
            "-o",
            "json",
        )
        assert done.code == 0, done.stderr
        self.run_id = done.json["run_id"]
        self.workflow_id = f"dag-{dag_id}-{self.run_id}"
        until("the trigger began", lambda: "began" in self.notes)

    @property
    def notes(self) -> list[str]:
        found = list(self.path.parent.glob("*.notes"))
        return found[0].read_text().split("\n")[:-1] if found else []

    def fires(self, suffix: str = "") -> None:
        Path(f"{self.path}{suffix}").touch()
        self.report: dict[str, Any] = self.box.appliance(
            "runs", "wait", self.dag_id, self.run_id, "-o", "json", timeout_s=100
        ).json

    def returned(self) -> Any:
        found = self.box.appliance("xcoms", self.dag_id, self.run_id, "-o", "json")
        return found.json[0]["value"]


def history(box: RunningBox, workflow_id: str) -> str:
    async def fetch() -> str:
        client = await Client.connect(f"127.0.0.1:{box.environ['APPLIANCE_PORT']}")
        found = await client.get_workflow_handle(workflow_id).fetch_history()
        return found.to_json()

    return asyncio.run(fetch())
