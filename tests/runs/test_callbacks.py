"""The callbacks of a DAG are called when its run has ended, with what Airflow tells them."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.runs.callback_context import subject
from appliance.temporal.messages import TaskRow
from tests.box import Ended, RunningBox, running_box
from tests.faults.processes import the_one, until

DAGS = Path(__file__).parent / "dags"


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBox]:
    folder = tmp_path_factory.mktemp("callbacks")
    environ = {
        "AIRFLOW_VAR_GREETING": "hello",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(DAGS.parent / "plugins"),
        "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "5",
    }
    with running_box(dags=DAGS, folder=folder, environ=environ) as started:
        yield started


def run(box: RunningBox, dag_id: str, told: Path) -> Ended:
    conf = json.dumps({"told": str(told)})
    return box.submit(dag_id, "--conf", conf, "--wait", "-o", "json", timeout_s=100)


def lines(told: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in told.read_text().splitlines()]


@pytest.mark.needs_server
@pytest.mark.timeout(180)
def test_success_is_told_with_the_last_task(box: RunningBox, tmp_path: Path) -> None:
    done = run(box, "tells_of_success", tmp_path / "told")

    assert done.code == 0
    assert lines(tmp_path / "told") == [
        {
            "reason": "success",
            "run_id": done.json["run_id"],
            "state": "success",
            "has_ended": True,
            "task": ["last", -1, 1],
            "pulled": 1,
            "variable": "hello",
        }
    ]


@pytest.mark.needs_server
@pytest.mark.timeout(180)
def test_failure_is_told_though_another_callback_breaks(
    box: RunningBox, tmp_path: Path
) -> None:
    done = run(box, "tells_of_failure", tmp_path / "told")

    assert done.code == 1
    (told,) = lines(tmp_path / "told")
    assert (told["reason"], told["state"]) == ("task_failure", "failed")
    assert told["task"] == ["bad", -1, 2]
    log = box.appliance("logs", "tells_of_failure", done.json["run_id"]).stdout
    assert "this callback is broken" in log
    assert "on_failure_callback | " in log
    assert "told of task_failure" in log
    assert "before it said how the task went" not in log


@pytest.mark.needs_server
@pytest.mark.timeout(180)
def test_a_timeout_is_told_with_the_task_it_interrupted(
    box: RunningBox, tmp_path: Path
) -> None:
    done = run(box, "tells_of_timeout", tmp_path / "told")

    assert done.code == 1
    (told,) = lines(tmp_path / "told")
    assert told["reason"] == "timed_out"
    assert told["task"] == ["endless", -1, 1]


def row(task_id: str, state: str | None, start: str = "", end: str = "") -> TaskRow:
    return TaskRow(task_id, -1, state, 1, start or None, end or None)


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        ("success", "late"),
        ("task_failure", "broke"),
        ("timed_out", "cut"),
        ("all_tasks_deadlocked", "stuck"),
    ],
)
def test_the_context_is_about_the_task_airflow_would_choose(
    reason: str, name: str
) -> None:
    rows = [
        row("early", "success", "1", "2"),
        row("late", "success", "1", "3"),
        row("broke", "failed", "1", "4"),
        row("never", "skipped"),
        row("cut", "skipped", "5"),
        row("apart", None),
        row("stuck", None),
    ]
    ups = {"stuck": ("broke",)}

    found = subject(rows, reason, upstreams_of=lambda task: ups.get(task, ()))

    assert found is not None
    assert found.task_id == name


def test_a_run_without_such_a_task_is_told_without_one() -> None:
    assert subject([], "success", upstreams_of=lambda _: ()) is None


@pytest.mark.needs_server
@pytest.mark.timeout(180)
@pytest.mark.parametrize("then", ["", "break", "hang"])
def test_listeners_of_plugins_hear_of_a_run_and_change_nothing(
    box: RunningBox, tmp_path: Path, then: str
) -> None:
    conf = json.dumps({"heard": str(tmp_path / "heard"), "then": then})
    words = ("--conf", conf, "--wait", "-o", "json")
    done = box.submit("passes_values", *words, timeout_s=100)

    assert done.code == 0, done.stderr
    running, success = lines(tmp_path / "heard")
    expected = {
        "dag_id": "passes_values",
        "run_id": done.json["run_id"],
        "run_type": "manual",
        "has_date": True,
        "has_begun": True,
        "tasks": ["add", "numbers"],
    }
    began = {"hook": "running", "msg": "started", "state": "running"}
    ended = {"hook": "success", "msg": "success", "state": "success"}
    assert running == {**expected, **began, "has_ended": False}
    assert success == {**expected, **ended, "has_ended": True}
    if then == "":
        log = box.appliance("logs", "passes_values", done.json["run_id"]).stdout
        assert "on_dag_run_success | " in log
        assert "heard started" in log
        assert "on_starting TaskRunnerMarker" in log
        assert "before_stopping TaskRunnerMarker" in log


@pytest.mark.needs_server
@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("dag_id", "msg"),
    [
        ("tells_of_failure", "task_failure"),
        ("tells_of_timeout", "timed_out"),
    ],
)
def test_listeners_hear_why_a_run_failed(
    box: RunningBox, tmp_path: Path, dag_id: str, msg: str
) -> None:
    heard, told = tmp_path / "heard", tmp_path / "told"
    conf = json.dumps({"heard": str(heard), "told": str(told)})
    done = box.submit(dag_id, "--conf", conf, "--wait", timeout_s=100)

    assert done.code == 1
    assert [(row["hook"], row["msg"]) for row in lines(heard)] == [
        ("running", "started"),
        ("failed", msg),
    ]


@pytest.mark.needs_server
@pytest.mark.timeout(180)
def test_listeners_hear_that_somebody_has_ended_a_queued_run(
    box: RunningBox, tmp_path: Path
) -> None:
    """As Airflow's API server calls them when a person marks the run as failed."""
    for run_id in ("runs", "waits"):
        conf = json.dumps({"heard": str(tmp_path / run_id)})
        words = ("--run-id", run_id, "--conf", conf)
        assert box.submit("waits_in_turn", *words).code == 0
        if run_id == "runs":
            until("it has begun", (tmp_path / run_id).exists)
    for run_id in ("waits", "runs"):
        box.appliance("cancel", "waits_in_turn", run_id, timeout_s=100)

    until("it is told", (tmp_path / "waits").exists)
    (failed,) = lines(tmp_path / "waits")
    assert failed["msg"] == "Dag Run's state was manually set to `failed`."
    assert (failed["hook"], failed["state"]) == ("failed", "failed")


@pytest.mark.needs_server
@pytest.mark.timeout(180)
def test_listeners_hear_that_somebody_has_ended_a_run(
    box: RunningBox, tmp_path: Path
) -> None:
    heard = tmp_path / "heard"
    conf = json.dumps({"heard": str(heard)})
    assert box.submit("waits_long", "--run-id", "c", "--conf", conf).code == 0
    until("it has begun", heard.exists)
    assert box.appliance("cancel", "waits_long", "c", timeout_s=100).code == 0

    until("it is told", lambda: len(lines(heard)) == 2)
    failed = lines(heard)[1]
    assert failed["msg"] == "Dag Run's state was manually set to `failed`."
    assert (failed["hook"], failed["state"]) == ("failed", "failed")


@pytest.mark.needs_server
@pytest.mark.timeout(180)
def test_a_try_that_is_lost_with_its_worker_is_told_as_a_retry(
    box: RunningBox, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    run_id = ("tells_of_loss", "lost")
    conf = json.dumps({"told": str(told)})
    box.submit(run_id[0], "--run-id", run_id[1], "--conf", conf)
    until("the task has begun", told.exists)

    os.kill(the_one(box.process.pid, "-m appliance worker"), signal.SIGKILL)
    done = box.appliance("runs", "wait", *run_id, "-o", "json", timeout_s=100)

    assert done.json["state"] == "success"
    notes = [json.loads(line) for line in told.read_text().splitlines()]
    assert sorted(notes) == [
        ["begins", 1],
        ["begins", 2],
        ["on_retry_callback", 1],
        ["on_success_callback", 2],
    ]
