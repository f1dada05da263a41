"""What is to be scheduled, going by files and configuration."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.config.model import Config, DagSettings, ScheduleMode, ScheduleSettings
from appliance.config.watch import EVERY_S
from appliance.dagfile.models import FileError, ListedDag, Listing
from appliance.schedules.declarations import unreadable, wanted_schedules
from appliance.schedules.messages import KnownSchedule
from appliance.schedules.reconciler import LOOK_S

TIMING: dict[str, Any] = {
    "timetable": {"__type": "T", "__var": {}},
    "earliest": "2026-01-01T00:00:00+00:00",
    "latest": None,
    "catchup": True,
    "max_active_runs": 3,
    "is_strict": False,
    "is_periodic": True,
    "is_paused": None,
    "max_failures": 2,
    "allows_scheduled": True,
}
DAG = ListedDag("my_etl", "etl.py", schedule="@daily", timing=TIMING)
CONFIG = Config(file=Path("a.yaml"), data=Path("data"))


@pytest.mark.parametrize(
    ("mode", "own", "is_paused"),
    [
        ("paused", None, True),
        ("active", None, False),
        ("paused", False, False),
        ("active", True, True),
    ],
)
def test_how_a_schedule_begins(
    mode: ScheduleMode, own: bool | None, is_paused: bool
) -> None:
    """As the DAG says, and otherwise as the configuration says."""
    dag = replace(DAG, timing={**TIMING, "is_paused": own})
    config = replace(CONFIG, dags=DagSettings(schedules=mode))
    (told,) = wanted_schedules(Listing((dag,)), config).declarations

    assert told.is_paused is is_paused
    assert (told.name, told.summary, told.source) == ("my_etl", "@daily", "etl.py")
    assert (told.catchup, told.max_active_runs, told.max_failures) == (True, 3, 2)


def test_dags_without_a_clock_are_not_scheduled() -> None:
    """Nor are those that allow no scheduled runs, nor any when schedules of files are ignored."""
    quiet = replace(DAG, timing=None)
    closed = replace(DAG, timing={**TIMING, "allows_scheduled": False})
    ignored = replace(CONFIG, dags=DagSettings(schedules="ignore"))

    assert wanted_schedules(Listing((quiet, closed)), CONFIG).declarations == ()
    assert wanted_schedules(Listing((DAG,)), ignored).declarations == ()


def test_a_configured_schedule_is_what_airflow_would_make_of_it() -> None:
    """Data intervals are as Airflow's own setting has them."""
    nightly = ScheduleSettings(
        "nightly", "my_etl", "@daily", timezone="Europe/Paris", conf={"x": 1}
    )
    config = replace(CONFIG, schedules=(nightly,), dags=DagSettings(schedules="ignore"))
    (told,) = wanted_schedules(Listing((DAG,)), config).declarations

    assert told.timetable == {
        "__type": "airflow.timetables.trigger.CronTriggerTimetable",
        "__var": {
            "expression": "0 0 * * *",
            "timezone": "Europe/Paris",
            "interval": 0.0,
            "run_immediately": False,
        },
    }
    assert (told.is_configured, told.is_paused, told.conf) == (True, False, {"x": 1})
    airflow_env = {"AIRFLOW__SCHEDULER__CREATE_CRON_DATA_INTERVALS": "True"}
    config = replace(config, airflow_env=airflow_env)
    (told,) = wanted_schedules(Listing((DAG,)), config).declarations
    assert told.timetable["__type"].endswith("CronDataIntervalTimetable")


def test_an_unknown_dag_names_the_nearest() -> None:
    """With the place in the file; that of a file which cannot be read just now is not unknown."""
    wrong = ScheduleSettings("n", "my_elt", "@daily", place="a.yaml:3:7")
    config = replace(CONFIG, schedules=(wrong,))
    broken = FileError("b.py", 3, "SyntaxError")

    found = wanted_schedules(Listing((DAG,), (broken,)), config)
    assert found.problems == (
        "b.py:3: SyntaxError",
        'a.yaml:3:7: schedules.n: there is no DAG "my_elt", did you mean "my_etl"?',
    )
    assert len(wanted_schedules(Listing(), config, kept=["my_elt"]).declarations) == 1


def test_a_name_that_is_a_dags_is_told_apart() -> None:
    """Both schedules are there."""
    same = ScheduleSettings("my_etl", "my_etl", "@daily")
    config = replace(CONFIG, schedules=(same,))
    names = [one.name for one in wanted_schedules(Listing((DAG,)), config).declarations]

    assert names == ["my_etl", "my_etl.yaml"]


def test_a_name_that_is_an_unreadable_dags_is_told_apart_too() -> None:
    """Otherwise it would take over what that DAG's own schedule has done so far."""
    same = ScheduleSettings("broken", "my_etl", "@daily")
    config = replace(CONFIG, schedules=(same,))
    found = wanted_schedules(Listing((DAG,)), config, kept=["broken"]).declarations

    assert [one.name for one in found] == ["my_etl", "broken.yaml"]


def test_an_unreadable_file_may_have_any_dag_that_was_scheduled_before() -> None:
    """Its own, and those only the configuration schedules; not one of a file that is gone."""
    known = (
        KnownSchedule("lost", "b.py", "", dag_id="lost"),
        KnownSchedule("nightly", "a.yaml:3:7", "", dag_id="quiet", is_configured=True),
        KnownSchedule("daily", "a.yaml:4:7", "", dag_id="my_etl", is_configured=True),
        KnownSchedule("gone", "gone.py", "", dag_id="gone"),
    )
    broken = FileError("b.py", 3, "SyntaxError")

    assert unreadable(Listing((DAG,), (broken,)), known) == {"lost", "quiet"}
    assert unreadable(Listing((DAG,)), known) == set()


def test_a_dag_that_cannot_be_run_here_is_barred_with_all_its_schedules() -> None:
    """Assets in a schedule are told of, and keep nothing from running."""
    hourly = ScheduleSettings("hourly", "my_etl", "@hourly")
    config = replace(CONFIG, schedules=(hourly,))

    refused = wanted_schedules(Listing((replace(DAG, refusal="needs a moon"),)), config)
    told = [(one.name, one.remark, one.is_barred) for one in refused.declarations]
    assert told == [("my_etl", "needs a moon", True), ("hourly", "needs a moon", True)]
    (noted, other) = wanted_schedules(
        Listing((replace(DAG, remark="x"),)), config
    ).declarations
    assert (noted.remark, noted.is_barred, other.remark) == ("x", False, "")


def test_what_is_saved_is_looked_at_within_two_seconds() -> None:
    """A DAG file by the reconciler; the configuration first by its watch, which looks twice."""
    assert LOOK_S + 2 * EVERY_S <= 2.0
