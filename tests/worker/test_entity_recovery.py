"""A workflow that stands for something never begins with nothing while there was one of its id, whatever its version."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio import activity, workflow
from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from appliance.active_runs.activities import ActiveRunsActivities
from appliance.active_runs.client import ActiveRunsClient, dag_workflow_id
from appliance.active_runs.messages import (
    DAG_WORKFLOW,
    ENTER_UPDATE,
    ActiveRunsState,
    RunAnnouncement,
    RunEnd,
)
from appliance.active_runs.workflow import AirflowDag
from appliance.config.model import Config, TemporalSettings
from appliance.dagrun.run_record import RunQuery, RunRecord
from appliance.dagrun.states import RunState
from appliance.dagrun.timing import ScheduleDeclaration, ScheduledRun
from appliance.pools.activities import PoolActivities, pool_workflow_id
from appliance.pools.messages import POOL_WORKFLOW, PoolState, SlotRequest, SlotReturn
from appliance.pools.model import SlotLease
from appliance.pools.workflow import AirflowPool
from appliance.schedules.client import SchedulesClient, scheduler_id
from appliance.schedules.messages import (
    FIND_ENDED_RUNS,
    SCHEDULER_WORKFLOW,
    START_RUNS,
    RunName,
    RunOrder,
    RunOutcome,
    SchedulerState,
    TimetableAnswer,
    TimetableQuestion,
)
from appliance.schedules.workflow import AirflowScheduler
from appliance.temporal import compression, messages
from appliance.temporal.messages import trigger_queue
from appliance.temporal.waiting import not_yet
from appliance.worker.entity_recovery import EntityRecovery
from appliance.worker_questions.messages import ASK_TIMETABLES
from tests.temporal.servers import serving

pytestmark = [
    pytest.mark.long,
    pytest.mark.needs_server,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="module"),
]

PATIENCE_S = 60.0
FIRST = "2026-01-01T00:00:00+00:00"
SECOND = "2026-01-01T01:00:00+00:00"
HOURLY = ScheduleDeclaration("a", "a", {"a": 1}, "@hourly", "a.py", catchup=True)
WHICHEVER = WorkflowIDConflictPolicy.USE_EXISTING
ANOTHER_VERSION = timedelta(milliseconds=1)


@workflow.defn(name=DAG_WORKFLOW)
class OtherDag(AirflowDag):
    """One whose history this version cannot replay: it sleeps first."""

    @workflow.init
    def __init__(self, state: ActiveRunsState) -> None:
        super().__init__(state)

    @workflow.run
    async def run(self, state: ActiveRunsState) -> None:
        await workflow.sleep(ANOTHER_VERSION)
        await super().run(state)


@workflow.defn(name=POOL_WORKFLOW)
class OtherPool(AirflowPool):
    """The same for a pool."""

    @workflow.init
    def __init__(self, state: PoolState) -> None:
        super().__init__(state)

    @workflow.run
    async def run(self, state: PoolState) -> None:
        await workflow.sleep(ANOTHER_VERSION)
        await super().run(state)


@workflow.defn(name=SCHEDULER_WORKFLOW)
class OtherScheduler(AirflowScheduler):
    """The same for the schedules."""

    @workflow.init
    def __init__(self, state: SchedulerState) -> None:
        super().__init__(state)

    @workflow.run
    async def run(self, state: SchedulerState) -> None:
        await workflow.sleep(ANOTHER_VERSION)
        await super().run(state)


@workflow.defn(name=DAG_WORKFLOW)
class StrangeDag:
    """One that was told what this version does not understand."""

    @workflow.run
    async def run(self, _state: ActiveRunsState) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.update(name=ENTER_UPDATE)
    async def enter(self, _asked: str) -> None:
        pass


class Place:
    """A task queue whose workers may be of this version or of another one."""

    def __init__(self, client: Client, queue: str) -> None:
        self.client = client
        self.queue = queue
        self.registry = ActiveRunsClient(client, queue)
        self.schedules = SchedulesClient(client, queue)
        self.pools = PoolActivities(
            client,
            Config(Path("a"), Path("d"), temporal=TemporalSettings(task_queue=queue)),
        )
        self.clerk = ActiveRunsActivities(self.registry, lambda _: True)
        self.recovery = EntityRecovery(client)
        self.started: list[str] = []
        self.room = asyncio.Event()
        self.room.set()

    @activity.defn(name=ASK_TIMETABLES)
    async def ask(self, questions: list[TimetableQuestion]) -> list[TimetableAnswer]:
        """Each schedule runs twice."""
        slots = [ScheduledRun(at, f"scheduled__{at}", at, at) for at in (FIRST, SECOND)]
        return [
            TimetableAnswer(
                [one for one in slots if not asked.last or one.at > asked.last.at]
            )
            for asked in questions
        ]

    @activity.defn(name=START_RUNS)
    async def start(self, wanted: list[RunOrder]) -> list[str | None]:
        if not self.room.is_set():
            raise not_yet("no room")
        self.started += [f"{one.dag_id} {one.slot.run_id}" for one in wanted]
        return [None] * len(wanted)

    @activity.defn(name=FIND_ENDED_RUNS)
    async def find_ended(self, runs: list[RunName]) -> list[RunOutcome]:
        raise not_yet("all of them are running")

    @asynccontextmanager
    async def working(self, *workflows: type[Any]) -> AsyncIterator[None]:
        activities: list[Any] = [
            *self.clerk.activities,
            self.recovery.rebuild,
            *self.pools.activities,
        ]
        beside = Worker(
            self.client,
            task_queue=trigger_queue(self.queue),
            activities=[self.start],
        )
        worker = Worker(
            self.client,
            task_queue=self.queue,
            workflows=list(workflows),
            activities=[*activities, self.ask, self.find_ended],
            workflow_runner=UnsandboxedWorkflowRunner(),
        )
        async with beside, worker:
            yield

    async def state(self, name: str) -> Any:
        handle = self.client.get_workflow_handle(name)
        return compression.unpacked(await handle.query(messages.STATE_QUERY))

    async def exists(self, workflow_id: str) -> None:
        """Have a workflow that goes on for ever."""
        await self.client.start_workflow(
            "Some", id=workflow_id, task_queue="nobody", id_conflict_policy=WHICHEVER
        )

    async def enters(self, dag_id: str, run_id: str) -> bool:
        await self.exists(f"dag-{dag_id}-{run_id}")
        return await self.registry.enter(
            RunAnnouncement(dag_id, card(dag_id, run_id), 1)
        )


def card(dag_id: str, run_id: str) -> RunRecord:
    return RunRecord(run_id, f"dag-{dag_id}-{run_id}", "manual", run_after=FIRST)


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not await is_so():
        assert time.monotonic() < deadline, "it never came to be"
        await asyncio.sleep(0.05)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Client]:
    """Give a server."""
    async with serving() as client:
        yield client


@pytest.fixture
def place(server: Client, request: pytest.FixtureRequest) -> Place:
    return Place(server, str(request.node.name))


async def test_the_runs_of_a_dag_outlive_a_change_of_version(place: Place) -> None:
    """Who runs, who waits, and how the others ended; also what it had from another one before it."""
    name = dag_workflow_id("d")
    handle = place.client.get_workflow_handle(name)
    async with place.working(OtherDag):
        assert await place.enters("d", "ended")
        assert not await place.enters("d", "runs")
        ended = replace(card("d", "ended"), state=RunState.SUCCESS)
        await place.registry.close(RunEnd("d", ended))
        assert not await place.enters("d", "waits")
        await handle.terminate()
        assert not await place.enters("d", "waits, too")
        known = await place.state(name)
        await handle.terminate()

    async with place.working(AirflowDag):
        assert not await place.enters("d", "waits")
        assert await place.state(name) == known
        (seen,) = await place.registry.find("d", RunQuery(run_ids=("ended",)))

    assert seen.card.state is RunState.SUCCESS
    assert [one["run_id"] for one in known["open"]] == ["runs", "waits", "waits, too"]
    assert known["open"][0]["state"] == "running"


async def test_the_slots_of_a_pool_outlive_a_change_of_version(place: Place) -> None:
    name = pool_workflow_id("p")

    def wish(task_id: str) -> SlotRequest:
        return SlotRequest(
            "p", SlotLease(f"run/{task_id}", "dag-d-run", task_id, -1), 1
        )

    await place.exists("dag-d-run")
    async with place.working(OtherPool):
        assert await place.pools.want_slots(wish("gone"))
        assert not await place.pools.want_slots(wish("holds"))
        await place.pools.give_back_slots(SlotReturn("p", ["run/gone"]))
        assert not await place.pools.want_slots(wish("waits"))
        known = await place.state(name)
        await place.client.get_workflow_handle(name).terminate()

    async with place.working(AirflowPool):
        assert not await place.pools.want_slots(wish("waits"))
        assert await place.state(name) == known

    assert list(known["held"]) == ["run/holds"]
    assert list(known["waiting"]) == ["run/waits"]


async def test_pauses_and_runs_of_schedules_outlive_a_change_of_version(
    place: Place,
) -> None:
    """No run is made twice, none is lost that was being started, and what was paused stays so."""
    name = scheduler_id(place.queue)
    paused = replace(HOURLY, name="b", dag_id="b", is_paused=True)
    configured = replace(HOURLY, name="c", dag_id="a", is_configured=True)
    handle = place.client.get_workflow_handle(name)
    first = [f"a scheduled__{at}" for at in (FIRST, SECOND)]
    named = [f"a scheduled__{at}__c" for at in (FIRST, SECOND)]

    async def is_made() -> bool:
        return len(place.started) == 4

    async def is_waiting() -> bool:
        return bool((await handle.describe()).raw_description.pending_activities)

    async with place.working(OtherScheduler):
        await place.schedules.declare([HOURLY, configured, paused], [], [])
        await until(is_made)
        await place.schedules.steer("pause", ["a"])
        place.room.clear()
        await place.schedules.steer("resume", ["b"])
        await until(is_waiting)
        known = await place.state(name)
        await handle.terminate()

    place.room.set()
    async with place.working(AirflowScheduler):
        await place.schedules.declare([], [], [])  # whoever has to do with it starts it
        rows = (await place.schedules.schedules()).rows

        async def is_all() -> bool:
            return len(place.started) == 6

        await until(is_all)

    assert sorted(place.started[:4]) == sorted([*first, *named])
    assert place.started[4:] == [f"b scheduled__{at}" for at in (FIRST, SECOND)]
    assert [(row.name, row.state, row.last_run) for row in rows] == [
        ("a", "paused", SECOND),
        ("b", "active", SECOND),
        ("c", "active", SECOND),
    ]
    assert [len(one["active"]) for one in known["entries"]] == [2, 2, 2]


async def test_what_cannot_be_read_is_refused_and_told_with_the_way_out(
    place: Place,
) -> None:
    """It waits for that, and lets no run begin meanwhile."""
    name = dag_workflow_id("broken")
    async with place.working(StrangeDag):
        handle = await place.client.start_workflow(
            DAG_WORKFLOW,
            ActiveRunsState("broken"),
            id=name,
            task_queue=place.queue,
        )
        await handle.execute_update(ENTER_UPDATE, "of a version yet to come")
        broken = handle.first_execution_run_id
        await handle.terminate()

    async with place.working(AirflowDag):
        entering = asyncio.create_task(place.enters("broken", "run"))
        fresh = place.client.get_workflow_handle(name)

        async def is_refused() -> bool:
            pending = (await fresh.describe()).raw_description.pending_activities
            return any(one.attempt > 1 for one in pending)

        await until(is_refused)
        said = place.recovery.refused()
        assert said.startswith(f"{name} waits: what it knew before it was ended can ")
        way_out = f"--workflow-id '{name}' --run-id {broken}"
        assert said.endswith(f"temporal workflow delete {way_out}")
        assert not entering.done()

        await fresh.terminate()
        with pytest.raises(WorkflowUpdateFailedError):
            await entering
