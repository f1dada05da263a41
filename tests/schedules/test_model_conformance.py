"""The scheduler makes the runs that Airflow's own scheduler makes, in simulated time."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.parity.client import OracleClient, oracle
from tests.schedules.timeline import DAG_ID, Timeline, declaration

pytestmark = [pytest.mark.long, pytest.mark.needs_airflow]

_SOURCE = """
from datetime import timedelta
from dateutil.relativedelta import relativedelta
import pendulum
from airflow.sdk import DAG, CronDataIntervalTimetable, CronTriggerTimetable
from airflow.sdk import DeltaDataIntervalTimetable, DeltaTriggerTimetable, EventsTimetable
from airflow.sdk import MultipleCronTriggerTimetable
from airflow.sdk import Asset, AssetOrTimeSchedule
from airflow.providers.standard.operators.empty import EmptyOperator

def paris(*at): return pendulum.datetime(*at, tz="Europe/Paris")
def york(*at): return pendulum.datetime(*at, tz="America/New_York")
def howe(*at): return pendulum.datetime(*at, tz="Australia/Lord_Howe")
def utc(*at): return pendulum.datetime(*at, tz="UTC")

with DAG({dag_id!r}, {words}) as dag:
    EmptyOperator(task_id="a")
"""


class Case(NamedTuple):
    """A schedule, the time it is looked at in, and what happens to the appliance meanwhile."""

    words: str
    begin: str
    end: str
    events: tuple[tuple[str, str], ...] = ()
    run_s: float = 1.0


_SPRING = ("2027-03-27T12:00:00+00:00", "2027-03-29T12:00:00+00:00")
_AUTUMN = ("2027-10-30T12:00:00+00:00", "2027-11-01T03:00:00+00:00")
_NY_SPRING = ("2027-03-13T12:00:00+00:00", "2027-03-15T12:00:00+00:00")
_NY_AUTUMN = ("2027-11-06T12:00:00+00:00", "2027-11-08T06:00:00+00:00")
_HOWE_SPRING = ("2027-10-02T00:00:00+00:00", "2027-10-03T22:00:00+00:00")
_HOWE_AUTUMN = ("2027-04-03T00:00:00+00:00", "2027-04-04T22:00:00+00:00")
_YEAR = ("2027-01-01T00:30:00+00:00", "2028-03-05T00:00:00+00:00")
_DAY = ("2027-06-01T00:30:00+00:00", "2027-06-02T00:45:00+00:00")
_DOWN = (
    ("2027-06-01T04:10:00+00:00", "down"),
    ("2027-06-01T11:20:00+00:00", "up"),
)
_PAUSED = (
    ("2027-06-01T03:10:00+00:00", "pause"),
    ("2027-06-01T09:20:00+00:00", "unpause"),
    ("2027-06-01T15:00:00+00:00", "pause"),
    ("2027-06-01T15:00:20+00:00", "unpause"),
)
_CATCH = "catchup=True, start_date=utc(2027, 5, 31, 12)"


def _cron(expression: str, start: str, **more: str) -> str:
    extra = "".join(f", {key}={value}" for key, value in more.items())
    return f'schedule="{expression}", start_date={start}, catchup=True{extra}'


CASES = {
    # what crons mean to Airflow
    "day of month or day of week": Case(_cron("0 0 13 * 5", "utc(2027, 1, 1)"), *_YEAR),
    "the second Friday": Case(_cron("0 0 * * 5#2", "utc(2027, 1, 1)"), *_YEAR),
    "the last Friday": Case(_cron("0 6 * * L5", "utc(2027, 1, 1)"), *_YEAR),
    "the last day": Case(_cron("0 12 L * *", "utc(2027, 1, 1)"), *_YEAR),
    "the last day, catchup off": Case(
        'schedule="0 12 L * *", start_date=utc(2026, 1, 1)', *_YEAR
    ),
    "six fields": Case(_cron("30 0 * * * 15", "utc(2027, 6, 1)"), *_DAY),
    "Sunday is 7": Case(_cron("5 4 * * 7", "utc(2027, 11, 1)"), *_YEAR),
    "names": Case(_cron("0 9 * jan,jul mon-wed", "utc(2027, 1, 1)"), *_YEAR),
    "a leap day": Case(
        _cron("0 0 29 2 *", "utc(2024, 1, 1)"),
        "2024-01-02T00:00:00+00:00",
        "2037-01-01T00:00:00+00:00",
    ),
    "the 31st": Case(_cron("0 0 31 * *", "utc(2027, 1, 1)"), *_YEAR),
    "the 30th in New York": Case(_cron("30 23 30 * *", "york(2027, 1, 1)"), *_YEAR),
    "steps that do not divide": Case(_cron("*/25 */7 * * *", "utc(2027, 6, 1)"), *_DAY),
    "every weekday": Case(
        _cron("0 7 * * 1-5", "utc(2027, 5, 1)"),
        "2027-05-01T12:00:00+00:00",
        "2027-06-20T00:00:00+00:00",
    ),
    # presets
    "@hourly": Case(_cron("@hourly", "utc(2027, 6, 1)"), *_DAY),
    "@daily": Case(_cron("@daily", "utc(2028, 2, 10)"), *_YEAR),
    "@weekly": Case(_cron("@weekly", "utc(2027, 1, 1)"), *_YEAR),
    "@monthly": Case(_cron("@monthly", "utc(2027, 1, 1)"), *_YEAR),
    "@quarterly": Case(_cron("@quarterly", "utc(2026, 1, 1)"), *_YEAR),
    "@yearly": Case(_cron("@yearly", "utc(2024, 1, 1)"), *_YEAR),
    # clock changes, forward and back, in three zones
    "Paris spring, a time that is not": Case(
        _cron("30 2 * * *", "paris(2027, 3, 26)"), *_SPRING
    ),
    "Paris autumn, a time that is twice": Case(
        _cron("30 2 * * *", "paris(2027, 10, 29)"), *_AUTUMN
    ),
    "Paris spring, hourly": Case(
        _cron("15 * * * *", "paris(2027, 3, 27, 12)"), *_SPRING
    ),
    "Paris autumn, hourly": Case(
        _cron("15 * * * *", "paris(2027, 10, 30, 12)"), *_AUTUMN
    ),
    "Paris autumn, half-hourly": Case(
        _cron("*/30 * * * *", "paris(2027, 10, 30, 22)"), *_AUTUMN
    ),
    "Paris autumn, every two hours": Case(
        _cron("0 */2 * * *", "paris(2027, 10, 29)"), *_AUTUMN
    ),
    "Paris spring, every two hours": Case(
        _cron("0 */2 * * *", "paris(2027, 3, 26)"), *_SPRING
    ),
    "Paris autumn, catchup off": Case(
        'schedule="30 2 * * *", start_date=paris(2027, 10, 1)', *_AUTUMN
    ),
    "New York spring, a time that is not": Case(
        _cron("30 2 * * *", "york(2027, 3, 12)"), *_NY_SPRING
    ),
    "New York autumn, a time that is twice": Case(
        _cron("30 1 * * *", "york(2027, 11, 5)"), *_NY_AUTUMN
    ),
    "New York autumn, half-hourly": Case(
        _cron("*/30 * * * *", "york(2027, 11, 6, 22)"), *_NY_AUTUMN
    ),
    "New York spring, hourly": Case(
        _cron("@hourly", "york(2027, 3, 13, 12)"), *_NY_SPRING
    ),
    "Lord Howe forward by half an hour": Case(
        _cron("15 2 * * *", "howe(2027, 10, 1)"), *_HOWE_SPRING
    ),
    "Lord Howe back by half an hour": Case(
        _cron("45 1 * * *", "howe(2027, 4, 2)"), *_HOWE_AUTUMN
    ),
    "Lord Howe forward, hourly": Case(
        _cron("@hourly", "howe(2027, 10, 2)"), *_HOWE_SPRING
    ),
    "Lord Howe back, every ten minutes": Case(
        _cron("*/10 1-2 * * *", "howe(2027, 4, 3)"), *_HOWE_AUTUMN
    ),
    # data intervals
    "data interval": Case(
        f'schedule=CronDataIntervalTimetable("0 * * * *", timezone="UTC"), {_CATCH}',
        *_DAY,
    ),
    "data interval, catchup off": Case(
        'schedule=CronDataIntervalTimetable("0 3 * * *", timezone="Europe/Paris"), start_date=utc(2027, 1, 1)',
        *_AUTUMN,
    ),
    "data interval over a spring night": Case(
        'schedule=CronDataIntervalTimetable("30 2 * * *", timezone="Europe/Paris"), catchup=True,'
        " start_date=paris(2027, 3, 25)",
        *_SPRING,
    ),
    "data interval over an autumn night": Case(
        'schedule=CronDataIntervalTimetable("*/20 * * * *", timezone="America/New_York"), catchup=True,'
        " start_date=york(2027, 11, 6, 23)",
        *_NY_AUTUMN,
    ),
    "data interval without a start": Case(
        'schedule=CronDataIntervalTimetable("0 5 * * *", timezone="UTC")', *_SPRING
    ),
    "trigger with an interval": Case(
        'schedule=CronTriggerTimetable("0 3 * * 1", timezone="UTC", interval=timedelta(days=4)), catchup=True,'
        " start_date=utc(2027, 10, 1)",
        *_YEAR,
    ),
    # the first run
    "no start date": Case('schedule="0 * * * *"', *_DAY),
    "no start date, run immediately": Case(
        'schedule=CronTriggerTimetable("0 3 * * *", timezone="UTC", run_immediately=True)',
        *_SPRING,
    ),
    "no start date, run if recent": Case(
        'schedule=CronTriggerTimetable("0 11 * * *", timezone="UTC", run_immediately=timedelta(hours=2))',
        *_SPRING,
    ),
    "a start in the future": Case(_cron("@hourly", "utc(2027, 6, 1, 9, 20)"), *_DAY),
    "an end": Case(
        _cron("@hourly", "utc(2027, 6, 1)", end_date="utc(2027, 6, 1, 7)"), *_DAY
    ),
    "an end, data intervals": Case(
        f'schedule=CronDataIntervalTimetable("@hourly", timezone="UTC"), end_date=utc(2027, 6, 1, 7), {_CATCH}',
        *_DAY,
    ),
    # deltas
    "timedelta": Case(
        _cron("x", "utc(2027, 6, 1)").replace('"x"', "timedelta(hours=5)"), *_DAY
    ),
    "timedelta, catchup off": Case(
        "schedule=timedelta(hours=5), start_date=utc(2027, 1, 1)", *_DAY
    ),
    "timedelta without a start": Case("schedule=timedelta(hours=3)", *_DAY),
    "timedelta across a clock change": Case(
        "schedule=timedelta(hours=8), start_date=paris(2027, 3, 26)", *_SPRING
    ),
    "relativedelta of a month": Case(
        "schedule=relativedelta(months=1), start_date=utc(2027, 1, 31), catchup=True",
        *_YEAR,
    ),
    "delta intervals": Case(
        f"schedule=DeltaDataIntervalTimetable(timedelta(hours=6)), {_CATCH}", *_DAY
    ),
    "delta intervals, catchup off": Case(
        "schedule=DeltaDataIntervalTimetable(timedelta(hours=6)), start_date=utc(2027, 5, 1)",
        *_DAY,
    ),
    "month intervals, catchup off": Case(
        "schedule=DeltaDataIntervalTimetable(relativedelta(months=1)), start_date=utc(2026, 5, 31)",
        *_YEAR,
    ),
    "delta trigger with an interval": Case(
        f"schedule=DeltaTriggerTimetable(timedelta(hours=7), interval=timedelta(hours=1)), {_CATCH}",
        *_DAY,
    ),
    # special ones
    "@once": Case('schedule="@once", start_date=utc(2027, 1, 1)', *_DAY),
    "@once later": Case('schedule="@once", start_date=utc(2027, 6, 1, 12)', *_DAY),
    "@once without a start": Case('schedule="@once"', *_DAY),
    "@continuous": Case(
        'schedule="@continuous", max_active_runs=1, start_date=utc(2027, 1, 1)',
        *_DAY,
        run_s=3000.0,
    ),
    "several crons": Case(
        f'schedule=MultipleCronTriggerTimetable("0 */6 * * *", "30 4,5 * * *", "0 12 * * *", timezone="UTC"), {_CATCH}',
        *_DAY,
    ),
    "several crons, catchup off": Case(
        'schedule=MultipleCronTriggerTimetable("0 */6 * * *", "30 4,5 * * *", timezone="UTC"),'
        " start_date=utc(2027, 1, 1)",
        *_DAY,
    ),
    "events": Case(
        "schedule=EventsTimetable([utc(2027, 6, 1, 5), utc(2027, 6, 1, 2), utc(2027, 5, 31), utc(2027, 6, 1, 20, 1)]),"
        f" {_CATCH}",
        *_DAY,
    ),
    "events, catchup off": Case(
        "schedule=EventsTimetable([utc(2027, 6, 1, 5), utc(2027, 6, 1, 20), utc(2027, 5, 31)]),"
        " start_date=utc(2027, 1, 1)",
        *_DAY,
    ),
    "assets or a time": Case(
        f'schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("0 */5 * * *", timezone="UTC"),'
        f' assets=[Asset("a")]), {_CATCH}',
        *_DAY,
    ),
    # downtime and pauses
    "down, catchup": Case(_cron("@hourly", "utc(2027, 6, 1)"), *_DAY, events=_DOWN),
    "down, catchup off": Case(
        'schedule="@hourly", start_date=utc(2027, 1, 1)', *_DAY, events=_DOWN
    ),
    "down, data intervals": Case(
        f'schedule=CronDataIntervalTimetable("@hourly", timezone="UTC"), {_CATCH}',
        *_DAY,
        events=_DOWN,
    ),
    "down, data intervals, catchup off": Case(
        'schedule=CronDataIntervalTimetable("@hourly", timezone="UTC"), start_date=utc(2027, 1, 1)',
        *_DAY,
        events=_DOWN,
    ),
    "down, delta, catchup off": Case(
        "schedule=timedelta(minutes=50), start_date=utc(2027, 1, 1)",
        *_DAY,
        events=_DOWN,
    ),
    "down, several crons, catchup off": Case(
        'schedule=MultipleCronTriggerTimetable("0 */6 * * *", "30 4,5 * * *", timezone="UTC"),'
        " start_date=utc(2027, 1, 1)",
        *_DAY,
        events=_DOWN,
    ),
    "down over an event, catchup off": Case(
        "schedule=EventsTimetable([utc(2027, 6, 1, 5), utc(2027, 6, 1, 20)]), start_date=utc(2027, 1, 1)",
        *_DAY,
        events=_DOWN,
    ),
    "down over @once": Case(
        'schedule="@once", start_date=utc(2027, 6, 1, 6)', *_DAY, events=_DOWN
    ),
    "down for months, catchup": Case(
        _cron("0 4 * * 0", "paris(2027, 1, 1)"),
        *_YEAR,
        events=(
            ("2027-03-01T00:00:00+00:00", "down"),
            ("2027-11-05T00:00:00+00:00", "up"),
        ),
    ),
    "down for months, catchup off": Case(
        'schedule="0 4 * * 0", start_date=paris(2027, 1, 1)',
        *_YEAR,
        events=(
            ("2027-03-01T00:00:00+00:00", "down"),
            ("2027-11-05T00:00:00+00:00", "up"),
        ),
    ),
    "paused, catchup": Case(_cron("@hourly", "utc(2027, 6, 1)"), *_DAY, events=_PAUSED),
    "paused, catchup off": Case(
        'schedule="@hourly", start_date=utc(2027, 1, 1)', *_DAY, events=_PAUSED
    ),
    "paused, data intervals, catchup off": Case(
        'schedule=CronDataIntervalTimetable("@hourly", timezone="UTC"), start_date=utc(2027, 1, 1)',
        *_DAY,
        events=_PAUSED,
    ),
    "paused and down": Case(
        _cron("@hourly", "utc(2027, 6, 1)"),
        *_DAY,
        events=(
            ("2027-06-01T02:10:00+00:00", "pause"),
            ("2027-06-01T04:10:00+00:00", "down"),
            ("2027-06-01T08:10:00+00:00", "up"),
            ("2027-06-01T10:10:00+00:00", "unpause"),
        ),
    ),
    # more to catch up with than may run at once
    "catching up two at a time": Case(
        _cron("@hourly", "utc(2027, 5, 30)", max_active_runs="2"), *_DAY, run_s=900.0
    ),
    "catching up more than is asked at once": Case(
        _cron("*/15 * * * *", "utc(2027, 5, 31, 10)", max_active_runs="5"),
        *_DAY,
        run_s=60.0,
    ),
}


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OracleClient]:
    """Give an Airflow for all cases."""
    with oracle(tmp_path_factory.mktemp("oracle")) as client:
        yield client


@pytest.mark.parametrize("name", CASES)
@pytest.mark.timeout(120)
def test_the_runs_are_airflows(airflow: OracleClient, name: str) -> None:
    """Whatever the schedule and whatever happens to the appliance, the same runs are made in the same order."""
    case = CASES[name]
    request: dict[str, Any] = {
        **case._asdict(),
        "source": _SOURCE.format(dag_id=DAG_ID, words=case.words),
    }
    expected = airflow.ask(request)
    timeline = Timeline(airflow, declaration(expected["timing"]), request)

    assert timeline.drive() == expected["runs"]
