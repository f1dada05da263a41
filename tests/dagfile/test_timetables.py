"""What decides when a DAG runs, and what timetables say of it."""

from typing import Any

import pytest

from tests.dagfile.conftest import Box

pytestmark = [
    pytest.mark.needs_airflow,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(120),
]

CRON = "airflow.timetables.trigger.CronTriggerTimetable"


def question(expression: str, **more: Any) -> dict[str, Any]:
    body = {
        "expression": expression,
        "timezone": "Europe/Paris",
        "interval": 0.0,
        "run_immediately": False,
    }
    return {
        "ask": "coming",
        "timetable": {"__type": CRON, "__var": body},
        "earliest": None,
        "latest": None,
        "catchup": False,
        "last": None,
        "now": "2027-03-27T12:00:00+00:00",
        "limit": 2,
        "run_type": "scheduled",
        **more,
    }


async def test_a_file_tells_what_decides_when_it_runs(box: Box) -> None:
    """The start of the DAG, which tasks cannot precede, and the latest end if all tasks have one."""
    box.write(
        "a.py",
        """
        from datetime import UTC, datetime
        from airflow.sdk import DAG
        from airflow.providers.standard.operators.empty import EmptyOperator

        with DAG("a", schedule="@daily", catchup=True, is_paused_upon_creation=False,
                 max_active_runs=2, max_consecutive_failed_dag_runs=3,
                 start_date=datetime(2026, 2, 1, tzinfo=UTC)):
            EmptyOperator(task_id="x", end_date=datetime(2026, 4, 1, tzinfo=UTC),
                          start_date=datetime(2026, 1, 1, tzinfo=UTC))
            EmptyOperator(task_id="y", end_date=datetime(2026, 5, 1, tzinfo=UTC))
        with DAG("b", schedule=None):
            EmptyOperator(task_id="x")
        """,
    )
    a, b = (await box.folder.listing()).dags
    assert a.timing is not None
    timetable = a.timing.pop("timetable")

    assert b.timing is None
    assert timetable["__type"] == CRON
    assert timetable["__var"]["expression"] == "0 0 * * *"
    assert a.timing == {
        "earliest": "2026-02-01T00:00:00+00:00",
        "latest": "2026-05-01T00:00:00+00:00",
        "catchup": True,
        "max_active_runs": 2,
        "is_strict": False,
        "is_periodic": True,
        "is_paused": False,
        "max_failures": 3,
        "allows_scheduled": True,
    }


async def test_no_file_is_read_twice_for_nothing(box: Box) -> None:
    """A look at a folder in which nothing has changed reads nothing, however old what is known of it."""
    for name in ("a", "b"):
        box.write(
            f"{name}.py",
            f"""
            from pathlib import Path
            from airflow.sdk import DAG
            with Path("{box.project}/{name}.reads").open("a") as file:
                file.write("x")
            dag = DAG("{name}")
            """,
        )

    def reads() -> list[int]:
        return [len((box.project / f"{n}.reads").read_text()) for n in ("a", "b")]

    for _ in range(3):
        await box.folder.listing()
    assert reads() == [1, 1]
    box.write("b.py", (box.root / "b.py").read_text() + "# saved\n")
    version = await box.folder.version()
    await box.folder.listing()
    assert reads() == [1, 2]
    assert await box.folder.version() == version


async def test_timetables_are_asked_in_a_child(box: Box) -> None:
    """One that fails spoils no other's answer; the clock change is Airflow's."""
    bad = question("0 25 * * *")
    good, wrong = await box.folder.ask_timetables([question("30 2 * * *"), bad])

    assert [slot["run_after"] for slot in good["slots"]] == [
        "2027-03-28T01:30:00+00:00",
        "2027-03-29T00:30:00+00:00",
    ]
    assert good["slots"][0]["run_id"] == "scheduled__2027-03-28T01:30:00+00:00"
    assert "CroniterBadCronError" in wrong["error"]


async def test_no_run_is_due_before_its_time_where_the_clock_is_set_back(
    box: Box,
) -> None:
    """What was due last is not what is due in the hour that comes again."""
    asked = question("0 2 * * *", ask="due", now="2027-10-31T00:30:00+00:00")
    asked["timetable"]["__var"]["run_immediately"] = True
    (answer,) = await box.folder.ask_timetables([asked])

    assert [slot["run_after"] for slot in answer["slots"]] == [
        "2027-10-30T00:00:00+00:00",
        "2027-10-31T01:00:00+00:00",
    ]


async def test_a_period_ends_before_now(box: Box) -> None:
    """A backfill makes no run that is not over, and gives Airflow's run ids."""
    asked = question(
        "0 * * * *",
        ask="between",
        earliest="2027-03-27T10:00:00+00:00",
        latest="2027-03-27T20:00:00+00:00",
        limit=10,
        run_type="backfill",
    )
    (answer,) = await box.folder.ask_timetables([asked])

    assert [slot["run_id"] for slot in answer["slots"]] == [
        "backfill__2027-03-27T10:00:00+00:00",
        "backfill__2027-03-27T11:00:00+00:00",
    ]


async def test_a_timetable_that_never_answers_is_interrupted(box: Box) -> None:
    """It is told by name, and costs others a few seconds, not their answer."""
    stuck = {"__type": "weights.Stuck", "__var": {}}
    asked = [question("", ask="due", timetable=stuck), question("30 2 * * *")]
    wrong, good = await box.folder.ask_timetables(asked)

    assert wrong == {"error": "weights.Stuck did not answer within 5 s"}
    assert len(good["slots"]) == 2


async def test_what_nobody_follows_is_told(box: Box) -> None:
    """Assets in a schedule, and features that no run can do without."""
    box.write(
        "a.py",
        """
        from airflow.sdk import Asset, AssetOrTimeSchedule, CronTriggerTimetable, DAG
        from airflow.providers.standard.operators.empty import EmptyOperator

        hourly = CronTriggerTimetable("0 * * * *", timezone="UTC")
        a = DAG("asset", schedule=[Asset("x")])
        both = AssetOrTimeSchedule(timetable=hourly, assets=[Asset("x")])
        b = DAG("both", schedule=both)
        with DAG("none", schedule="@daily"):
            EmptyOperator(task_id="t", run_as_user="me")
        """,
    )
    asset, both, none = (await box.folder.listing()).dags

    assert asset.remark == (
        "asset-triggered runs are not built yet: submit it, or schedule it in appliance.yaml"
    )
    assert both.remark == (
        "asset-triggered runs are not built yet: nothing but its times starts runs"
    )
    assert (none.remark, asset.refusal) == (None, None)
    assert none.refusal is not None
    assert none.refusal.startswith('a.py: DAG "none", task "t" uses run_as_user')
