"""The page of schedules in the Temporal UI shows the schedules of a real appliance, and its buttons work."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from temporalio.client import (
    Client,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleBackfill,
    ScheduleDescription,
    ScheduleHandle,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError
from temporalio.worker import Replayer

from appliance.schedules.temporal_schedule_workflow import AirflowScheduleAction
from appliance.temporal import compression
from tests.box import RunningBox, running_box
from tests.faults.processes import the_one
from tests.schedules.looking import Looker, until

pytestmark = [
    pytest.mark.needs_airflow,
    pytest.mark.needs_server,
    pytest.mark.timeout(200),
]

HERE = Path(__file__).parent
PREFIX, SUFFIX = "airflow-schedule-", "@airflow-tasks"
KNOWN_TO_TEMPORAL = {"daily", "hourly", "several", "early_in_paris", "soon"}
AIRFLOWS_OWN = {
    "at_the_change_in_paris",
    "every_minute",
    "day_or_weekday",
    "second_friday",
    "last_day",
    "apart",
}
PROMPT_S = 5.0
"""Less than the scheduler waits for a Temporal Schedule to ring."""


@pytest.fixture(scope="module")
def soon() -> datetime:
    """Give the time when the DAG of that name runs, the only time it does today."""
    return datetime.fromtimestamp(time.time() // 60 * 60 + 120, UTC)


@pytest.fixture(scope="module")
def box(
    tmp_path_factory: pytest.TempPathFactory, soon: datetime
) -> Iterator[RunningBox]:
    """Give a box on a copy of the DAG folder."""
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(HERE / "page" / "dags", folder / "dags")
    environ = {"SOON": f"{soon.minute} {soon.hour} * * *"}
    with running_box(dags=folder / "dags", folder=folder, environ=environ) as running:
        yield running


@pytest.fixture(scope="module")
def look(box: RunningBox) -> Looker:
    """Give somebody who looks at the box, once the page has all of them."""
    looker = Looker(box)
    until(lambda: shown(looker).keys() >= KNOWN_TO_TEMPORAL | AIRFLOWS_OWN)
    return looker


def complete(look: Looker) -> bool:
    """Tell whether Temporal has been told all that it may be told."""
    found = shown(look)
    return {name for name in found if times(found[name])} == KNOWN_TO_TEMPORAL


def shown(look: Looker) -> dict[str, ScheduleDescription]:
    """Return the Temporal Schedules, by the name of the schedule."""

    async def found(client: Client) -> dict[str, ScheduleDescription]:
        seen = {}
        async for listed in await client.list_schedules():
            with suppress(RPCError):  # It was deleted in this moment.
                described = await client.get_schedule_handle(listed.id).describe()
                seen[listed.id.removeprefix(PREFIX).removesuffix(SUFFIX)] = described
        return seen

    return look.ask_temporal(found)


def times(schedule: ScheduleDescription) -> list[datetime]:
    return list(schedule.info.next_action_times)


def paused(look: Looker) -> set[str]:
    return {name for name, one in shown(look).items() if one.schedule.state.paused}


def is_active(look: Looker, name: str) -> bool:
    return look.schedules().get(name, {}).get("state") == "active"


def press(look: Looker, name: str, button: str) -> None:
    """Press a button on the page of a schedule."""

    async def pressed(client: Client) -> None:
        await getattr(handle(client, name), button)()

    look.ask_temporal(pressed)


def handle(client: Client, name: str) -> ScheduleHandle:
    return client.get_schedule_handle(PREFIX + name + SUFFIX)


def outcomes(look: Looker, name: str) -> list[str]:
    """Return what came of each time a Temporal Schedule started its workflow."""

    async def found(client: Client) -> list[str]:
        described = await handle(client, name).describe()
        actions = [one.action for one in described.info.recent_actions]
        return [
            await client.get_workflow_handle(
                action.workflow_id, run_id=action.first_execution_run_id
            ).result()
            for action in actions
            if isinstance(action, ScheduleActionExecutionStartWorkflow)
        ]

    return look.ask_temporal(found)


def test_temporal_is_told_the_times_it_tells_as_airflow_does(
    box: RunningBox, look: Looker
) -> None:
    """Of other schedules it shows whose times they are; both have the state they have in Airflow."""
    until(lambda: complete(look))
    found = shown(look)

    for name in KNOWN_TO_TEMPORAL:
        words = ("dags", "next", name, "-n", "5", "-o", "json")
        airflows = [run["run_after"] for run in box.appliance(*words).json]
        temporals = [at.isoformat() for at in times(found[name])]
        assert airflows[-4:] == [at for at in temporals if at in airflows][-4:], name
    for name in AIRFLOWS_OWN:
        note = found[name].schedule.state.note
        assert note is not None
        assert f"appliance schedules show {name}" in note
    until(lambda: paused(look) == (KNOWN_TO_TEMPORAL | AIRFLOWS_OWN) - {"soon"})


def test_a_schedule_rings_at_its_time(
    box: RunningBox, look: Looker, soon: datetime
) -> None:
    """The scheduler, which leaves the time to it, makes the run at once, with Airflow's names, and only one."""
    until(lambda: carried(look) == KNOWN_TO_TEMPORAL)
    run_id = f"scheduled__{soon.isoformat()}"
    until(lambda: run_id in look.executions("soon"))
    words = ("runs", "list", "soon", "-o", "json")
    (run,) = (one for one in box.appliance(*words).json if one["run_id"] == run_id)

    assert "told the scheduler" in outcomes(look, "soon")
    late = datetime.fromisoformat(run["start_date"]) - soon
    assert timedelta() <= late < timedelta(seconds=PROMPT_S)
    assert look.executions("soon").count(run_id) == 1


def carried(look: Looker) -> set[str]:
    """Return the schedules whose times the scheduler leaves to Temporal."""

    async def told(client: Client) -> str:
        scheduler = client.get_workflow_handle("airflow-scheduler-airflow-tasks")
        return str(await scheduler.query("state"))

    entries = compression.unpacked(look.ask_temporal(told))["entries"]
    return {one["declaration"]["name"] for one in entries if one["is_carried"]}


def test_pause_and_resume_on_either_side_reach_the_other(
    box: RunningBox, look: Looker
) -> None:
    """Who was last is right, also about one whose times are Airflow's own."""
    for name in ("daily", "apart"):
        press(look, name, "unpause")
        until(partial(is_active, look, name))
    until(lambda: len(look.executions("daily")) == 1)
    assert box.appliance("dags", "pause", "daily").code == 0
    until(lambda: shown(look)["daily"].schedule.state.paused)
    press(look, "apart", "pause")
    until(lambda: not is_active(look, "apart"))
    assert not is_active(look, "daily")


def test_what_is_pressed_while_no_worker_is_there_counts(
    box: RunningBox, look: Looker
) -> None:
    """The next worker finds out who has changed what."""
    os.kill(the_one(box.process.pid, "appliance worker"), signal.SIGKILL)
    press(look, "several", "unpause")

    until(partial(is_active, look, "several"))
    assert not shown(look)["several"].schedule.state.paused
    box.appliance("schedules", "pause", "several")
    until(lambda: shown(look)["several"].schedule.state.paused)


def test_trigger_starts_a_run(look: Looker) -> None:
    """Of a paused schedule as well; a run by hand, at the time the button was pressed."""
    press(look, "last_day", "trigger")
    (run_id,) = until(lambda: look.executions("last_day"))

    assert run_id.startswith("manual__")
    assert outcomes(look, "last_day") == [f"started dag-last_day-{run_id}"]


def test_backfill_makes_the_runs_of_a_period_once(look: Looker) -> None:
    """As Airflow's backfills do; what there has been is left alone."""
    first = datetime(2026, 3, 1, tzinfo=UTC)

    async def backfilled(client: Client) -> None:
        end = first + timedelta(days=2)
        # In Temporal the begin of a period is no part of it.
        period = ScheduleBackfill(first - timedelta(seconds=1), end)
        await handle(client, "early_in_paris").backfill(period)

    look.ask_temporal(backfilled)
    times = [
        f"backfill__2026-03-0{day}T04:30:00+00:00"  # 5:30 in Paris
        for day in (1, 2)
    ]
    until(lambda: look.executions("early_in_paris") == times)
    look.ask_temporal(backfilled)
    until(lambda: len(outcomes(look, "early_in_paris")) == 4)

    said = sorted(
        text.split(maxsplit=1)[1] for text in outcomes(look, "early_in_paris")
    )
    assert said == [
        *("already exists", "already exists"),
        *(f"dag-early_in_paris-{run_id}" for run_id in times),
    ]
    assert look.executions("early_in_paris") == times


def test_what_is_written_over_on_the_page_is_written_again(look: Looker) -> None:
    """Its times, its input, and what only looks like one of ours is left alone."""

    async def spoilt(client: Client) -> None:
        def spoil(seen: ScheduleUpdateInput) -> ScheduleUpdate:
            schedule = seen.description.schedule
            schedule.spec = ScheduleSpec(cron_expressions=["* * * * *"])
            assert isinstance(schedule.action, ScheduleActionStartWorkflow)
            schedule.action.args = ["nonsense"]
            return ScheduleUpdate(schedule)

        await handle(client, "daily").update(spoil)
        found = (await handle(client, "daily").describe()).schedule
        await client.create_schedule(f"{PREFIX}stranger{SUFFIX}-too", found)

    before = times(shown(look)["daily"])
    look.ask_temporal(spoilt)
    until(lambda: times(shown(look)["daily"]) == before)

    assert f"stranger{SUFFIX}-too" in shown(look)
    assert all(run.startswith("scheduled__") for run in look.executions("daily"))


def test_a_scheduler_that_is_terminated_takes_nothing_off_the_page(
    look: Looker,
) -> None:
    """The next one shows the same, and rings come back."""
    press(look, "day_or_weekday", "unpause")
    look.terminate("airflow-scheduler-airflow-tasks")
    names = shown(look).keys()
    until(lambda: carried(look) == KNOWN_TO_TEMPORAL)
    until(partial(is_active, look, "day_or_weekday"))

    assert shown(look).keys() == names


def test_a_deleted_schedule_comes_back_and_that_of_a_vanished_dag_does_not(
    box: RunningBox, look: Looker
) -> None:
    """The page follows the scheduler."""
    press(look, "hourly", "delete")
    until(lambda: "hourly" in shown(look))
    file = box.data.parent / "dags" / "paged.py"
    file.write_text(file.read_text().replace('make("hourly"', 'make("renamed"'))

    until(lambda: "renamed" in shown(look) and "hourly" not in shown(look))
    with pytest.raises(RPCError):
        press(look, "hourly", "describe")


def test_the_workflows_of_buttons_replay(look: Looker) -> None:
    """What they did is in their histories."""

    async def replayed(client: Client) -> int:
        query = "WorkflowType = 'AirflowScheduleAction'"
        replayer = Replayer(workflows=[AirflowScheduleAction])
        found = 0
        async for seen in client.list_workflows(query):
            history = await client.get_workflow_handle(
                seen.id, run_id=seen.run_id
            ).fetch_history()
            await replayer.replay_workflow(history)
            found += 1
        return found

    assert look.ask_temporal(replayed) >= 5
