"""Sensors that are poked over and over hold nothing and leave next to no events."""

import json
from pathlib import Path

import pytest

from tests.box import RunningBox
from tests.deferrals.test_deferral import history
from tests.faults.processes import until
from tests.runs.test_runs import Report

pytestmark = [pytest.mark.needs_server, pytest.mark.timeout(180)]
SCHEDULED = "EVENT_TYPE_ACTIVITY_TASK_SCHEDULED"
TIMER = "EVENT_TYPE_TIMER_STARTED"


def conf(path: Path) -> tuple[str, str]:
    return "--conf", json.dumps({"path": str(path / "sensor")})


def test_sensors_end_as_on_airflow(box: RunningBox, tmp_path: Path) -> None:
    report = Report(box, "senses", *conf(tmp_path))

    names = ("poke", "reschedule", "backoff")
    assert report.states == dict.fromkeys(names, "success")
    assert [report.returned(name) for name in names] == [3, 6, 4]
    assert {row["try_number"] for row in report.tasks.values()} == {1}
    # Two activities a rescheduling sensor, however often it is poked, and no timer.
    events = history(box, f"dag-senses-{report.run_id}")
    assert (events.count(SCHEDULED), events.count(TIMER)) == (5, 0)


def test_pokes_are_counted_whether_or_not_there_is_time_before_the_next(
    box: RunningBox, tmp_path: Path
) -> None:
    report = Report(box, "counts_its_pokes", *conf(tmp_path))

    assert report.returned("late") == [0, 1, 2, 3]
    assert report.returned("on_time") == [0, 1, 2, 3]


def test_a_sensor_that_takes_too_long_fails_or_is_skipped(
    box: RunningBox, tmp_path: Path
) -> None:
    report = Report(box, "senses_in_vain", *conf(tmp_path))

    assert report.states == {"fails": "failed", "skips": "skipped"}
    assert report.tasks["fails", -1]["try_number"] == 1


def test_where_tasks_run_one_at_a_time_so_do_pokes(
    box: RunningBox, tmp_path: Path
) -> None:
    report = Report(box, "senses_one_at_a_time", *conf(tmp_path))

    assert report.returned("sensor") == 3
    events = history(box, f"dag-senses_one_at_a_time-{report.run_id}")
    assert (events.count(SCHEDULED), events.count(TIMER)) == (3, 2)


def test_a_sensor_is_cancelled_between_its_pokes(
    box: RunningBox, tmp_path: Path
) -> None:
    run = box.submit("senses_for_ever", *conf(tmp_path), "-o", "json").json["run_id"]
    until("it was poked", lambda: any(tmp_path.iterdir()))

    def states() -> str:
        return box.appliance("runs", "list", "senses_for_ever", "-o", "json").stdout

    assert box.appliance("cancel", "senses_for_ever", run).code == 0
    until("the run has ended", lambda: '"failed"' in states())
