"""The callbacks of a DAG are called when its run has ended, with what Airflow tells them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.temporal.messages import TaskRow
from appliance.temporal.workflows.callbacks import subject
from tests.box import Ended, RunningBox, running_box

DAGS = Path(__file__).parent / "dags"


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBox]:
    folder = tmp_path_factory.mktemp("callbacks")
    environ = {"AIRFLOW_VAR_GREETING": "hello"}
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
