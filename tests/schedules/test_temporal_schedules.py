"""The Schedules page of the Temporal UI shows the schedules of a real appliance, and its buttons work."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path

import pytest
from temporalio.client import (
    Client,
    ScheduleActionExecutionStartWorkflow,
    ScheduleActionStartWorkflow,
    ScheduleDescription,
    ScheduleHandle,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError
from temporalio.worker import Replayer

from appliance.schedules.temporal_schedule_workflow import AirflowScheduleAction
from tests.box import RunningBox, running_box
from tests.faults.processes import the_one
from tests.schedules.looking import Looker, until

pytestmark = [
    pytest.mark.long,
    pytest.mark.needs_airflow,
    pytest.mark.needs_server,
    pytest.mark.timeout(200),
]

HERE = Path(__file__).parent
PREFIX, SUFFIX = "airflow-schedule-", "@airflow-tasks"
NAMES = {"daily", "hourly", "last_day", "apart"}


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBox]:
    """Give a box on a copy of the DAG folder."""
    folder = tmp_path_factory.mktemp("page")
    shutil.copytree(HERE / "page" / "dags", folder / "dags")
    with running_box(dags=folder / "dags", folder=folder) as running:
        yield running


@pytest.fixture(scope="module")
def look(box: RunningBox) -> Looker:
    """Give somebody who looks at the box, once the page has all of them."""
    looker = Looker(box)
    until(lambda: shown(looker).keys() >= NAMES)
    return looker


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


def test_each_schedule_is_shown_paused_as_it_is_and_without_times(look: Looker) -> None:
    """A Temporal Schedule with times would be a second clock."""
    until(lambda: paused(look) == NAMES)
    found = shown(look)
    assert [times(found[name]) for name in NAMES] == [[]] * len(NAMES)
    assert "appliance schedules show daily" in note(look, "daily")


def note(look: Looker, name: str) -> str:
    return shown(look)[name].schedule.state.note or ""


def test_pause_and_resume_on_either_side_reach_the_other(
    box: RunningBox, look: Looker
) -> None:
    """Who was last is right; an active one says when it runs next."""
    for name in ("daily", "apart"):
        press(look, name, "unpause")
        until(partial(is_active, look, name))
    until(lambda: len(look.executions("daily")) == 1)
    (run,) = box.appliance("dags", "next", "daily", "-n", "1", "-o", "json").json
    until(lambda: f"Next run: {run['run_after']}" in note(look, "daily"))
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
    press(look, "hourly", "unpause")

    until(partial(is_active, look, "hourly"))
    assert not shown(look)["hourly"].schedule.state.paused
    box.appliance("schedules", "pause", "hourly")
    until(lambda: shown(look)["hourly"].schedule.state.paused)


def test_trigger_starts_a_run(look: Looker) -> None:
    """Of a paused schedule as well; a run by hand, at the time the button was pressed."""
    press(look, "last_day", "trigger")
    (run_id,) = until(lambda: look.executions("last_day"))

    assert run_id.startswith("manual__")
    assert outcomes(look, "last_day") == [f"started dag-last_day-{run_id}"]


def test_what_is_written_over_on_the_page_is_written_again(look: Looker) -> None:
    """Its times, which start nothing, and its input; what only looks like one of ours is left alone."""

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

    look.ask_temporal(spoilt)
    until(lambda: times(shown(look)["daily"]) == [])

    assert f"stranger{SUFFIX}-too" in shown(look)
    assert all(run.startswith("scheduled__") for run in look.executions("daily"))


def test_a_schedule_with_times_of_version_0_1_loses_them_and_they_start_nothing(
    look: Looker,
) -> None:
    """The scheduler waited until such a one rang; it makes the runs by itself again."""

    async def as_of_0_1(client: Client) -> None:
        def write(seen: ScheduleUpdateInput) -> ScheduleUpdate:
            schedule = seen.description.schedule
            schedule.spec = ScheduleSpec(cron_expressions=["* * * * *"])
            assert isinstance(schedule.action, ScheduleActionStartWorkflow)
            old = {"name": "apart", "is_paused": True, "timetable": {"__type": "x"}}
            schedule.action.args = [old]
            return ScheduleUpdate(schedule)

        await handle(client, "apart").update(write)
        await handle(client, "apart").trigger()

    press(look, "apart", "pause")
    look.ask_temporal(as_of_0_1)
    until(lambda: times(shown(look)["apart"]) == [])
    until(lambda: len(outcomes(look, "apart")) == 1)

    assert outcomes(look, "apart") == [
        "nothing: the scheduler makes the runs of this schedule by itself"
    ]
    assert not [run for run in look.executions("apart") if run.startswith("manual")]


def test_a_scheduler_that_is_terminated_takes_nothing_off_the_page(
    look: Looker,
) -> None:
    """The next one shows the same, and what was pressed meanwhile counts."""
    names = shown(look).keys()
    look.terminate("airflow-scheduler-airflow-tasks")
    press(look, "last_day", "unpause")
    until(partial(is_active, look, "last_day"))

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

    assert look.ask_temporal(replayed) >= 2
