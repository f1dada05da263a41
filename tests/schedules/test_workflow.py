"""The workflows of schedules and backfills: what they do when something is in their way."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from temporalio import activity
from temporalio.api.enums.v1 import EventType, PendingActivityState
from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowFailureError,
)
from temporalio.worker import Worker

from appliance.backfills.messages import (
    BACKFILL_WORKFLOW,
    CANCEL_QUEUED,
    TELL_SCHEDULER,
    BackfillPlan,
    BackfillProgress,
    BackfillRequest,
    BackfillState,
    PlannedRun,
)
from appliance.backfills.workflow import AirflowBackfill
from appliance.dagrun.timing import ScheduleDeclaration, ScheduledRun
from appliance.errors import DagError
from appliance.schedules.client import SchedulesClient, scheduler_id
from appliance.schedules.messages import (
    FIND_ENDED_RUNS,
    START_RUNS,
    BackfilledRuns,
    RunName,
    RunOrder,
    RunOutcome,
    TimetableAnswer,
    TimetableQuestion,
)
from appliance.schedules.workflow import AirflowScheduler
from appliance.temporal.messages import trigger_queue
from appliance.temporal.waiting import not_yet
from appliance.worker.entity_recovery import EntityRecovery
from appliance.worker_questions.messages import ASK_TIMETABLES, PLAN_BACKFILL
from tests.temporal.servers import serving

pytestmark = [
    pytest.mark.needs_server,
    pytest.mark.timeout(120),
    pytest.mark.asyncio(loop_scope="module"),
]

PATIENCE_S = 60.0
POLL_S = 0.05
CANCELLED_SOON = PendingActivityState.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED
PAST = "2026-01-01T00:00:00+00:00"
HOURLY = ScheduleDeclaration("a", "a", {"a": 1}, "@hourly", "a.py")


class Desk:
    """What a worker does for these workflows; ``room`` is unset while it has no room for runs."""

    def __init__(self) -> None:
        self.room = asyncio.Event()
        self.room.set()
        self.starting = asyncio.Event()
        """Set once somebody wants runs to be started."""
        self.is_patient = False
        """Whether starting waits for room in one attempt."""
        self.error: str | None = None
        self.started: list[str] = []
        self.given: list[dict[str, Any] | None] = []
        self.batches: list[int] = []
        self.ended: set[str] = set()
        self.looked_at: list[list[RunName]] = []
        self.planned = 9
        self.abandoned: list[str] = []
        self.covered: list[str] = []

    @activity.defn(name=ASK_TIMETABLES)
    async def ask(self, questions: list[TimetableQuestion]) -> list[TimetableAnswer]:
        """Each schedule runs once."""
        slot = ScheduledRun(PAST, f"scheduled__{PAST}", PAST, PAST)
        return [TimetableAnswer([] if one.last else [slot]) for one in questions]

    @activity.defn(name=START_RUNS)
    async def start(self, wanted: list[RunOrder]) -> list[str | None]:
        self.given += [order.conf for order in wanted]
        self.batches.append(len(wanted))
        self.starting.set()
        if self.is_patient:
            await self.room.wait()
        if not self.room.is_set():
            raise not_yet("the disk is nearly full")
        self.started += [order.slot.run_id for order in wanted]
        return [self.error] * len(wanted)

    @activity.defn(name=PLAN_BACKFILL)
    async def plan(self, _request: BackfillRequest) -> BackfillPlan:
        runs = [
            PlannedRun(ScheduledRun(PAST, f"backfill__{i}", PAST, PAST))
            for i in range(self.planned)
        ]
        return BackfillPlan(runs)

    @activity.defn(name=FIND_ENDED_RUNS)
    async def find_ended(self, runs: list[RunName]) -> list[RunOutcome]:
        self.looked_at.append(runs)
        ended = [
            RunOutcome(run, is_success=True) for run in runs if self.ended == {"all"}
        ]
        if not ended:
            raise not_yet("all of them are running")
        return ended

    @activity.defn(name=CANCEL_QUEUED)
    async def cancel_queued(self, runs: list[RunName]) -> None:
        self.abandoned += [run.run_id for run in runs]

    @activity.defn(name=TELL_SCHEDULER)
    async def tell_scheduler(self, made: BackfilledRuns) -> None:
        self.covered += [slot.run_id for slot in made.slots]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Client]:
    """Give a server."""
    async with serving() as client:
        yield client


@pytest_asyncio.fixture(loop_scope="module")
async def desk(server: Client, queue: str) -> AsyncIterator[Desk]:
    """Give a worker's desk; runs are started only where tries cannot take all slots."""
    made = Desk()
    beside = Worker(server, task_queue=trigger_queue(queue), activities=[made.start])
    worker = Worker(
        server,
        task_queue=queue,
        workflows=[AirflowScheduler, AirflowBackfill],
        activities=[
            made.ask,
            made.plan,
            made.find_ended,
            made.cancel_queued,
            made.tell_scheduler,
            EntityRecovery(server).rebuild,
        ],
    )
    async with beside, worker:
        yield made


@pytest.fixture
def queue(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


@pytest.fixture
def schedules(server: Client, queue: str) -> SchedulesClient:
    return SchedulesClient(server, queue)


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not await is_so():
        assert time.monotonic() < deadline, "it never came to be"
        await asyncio.sleep(POLL_S)


async def test_one_that_was_terminated_comes_back_and_forgets_nothing(
    server: Client, schedules: SchedulesClient, desk: Desk, queue: str
) -> None:
    """Meanwhile there are no schedules: nobody is answered by what has ended."""
    await schedules.declare([HOURLY, replace(HOURLY, name="b", dag_id="b")], [], [])
    await schedules.steer("pause", ["b"])

    async def is_made() -> bool:
        return len(desk.started) == 2

    await until(is_made)
    await server.get_workflow_handle(scheduler_id(queue)).terminate()
    assert await schedules.declared() is None
    assert (await schedules.schedules()).rows == []

    await schedules.report_backfilled(
        BackfilledRuns("c", [])
    )  # whoever has to do with it starts it
    await schedules.declare([replace(HOURLY, summary="hourly")], [], [])
    rows = (await schedules.schedules()).rows
    assert [(row.name, row.state, row.last_run) for row in rows] == [
        ("a", "active", PAST),
        ("b", "paused", PAST),
    ]
    assert len(desk.started) == 2


async def test_a_run_that_was_being_started_when_it_was_terminated_is_started(
    server: Client, schedules: SchedulesClient, desk: Desk, queue: str
) -> None:
    """By the one that comes back, though its time has passed."""
    desk.room.clear()
    await schedules.declare([HOURLY], [], [])
    await desk.starting.wait()
    await server.get_workflow_handle(scheduler_id(queue)).terminate()
    desk.room.set()

    await schedules.report_backfilled(
        BackfilledRuns("c", [])
    )  # whoever has to do with it starts it

    async def is_made() -> bool:
        return desk.started == [f"scheduled__{PAST}"]

    await until(is_made)


async def test_a_run_that_waits_for_room_leaves_no_events(
    server: Client, schedules: SchedulesClient, desk: Desk, queue: str
) -> None:
    """However long the disk is short."""
    desk.room.clear()
    handle = server.get_workflow_handle(scheduler_id(queue))
    await schedules.declare([HOURLY], [], [])

    async def is_tried_again() -> bool:
        pending = (await handle.describe()).raw_description.pending_activities
        return any(one.attempt > 1 for one in pending)

    await until(is_tried_again)
    events = (await handle.fetch_history()).events
    desk.room.set()

    async def is_made() -> bool:
        return desk.started == [f"scheduled__{PAST}"]

    await until(is_made)
    # The last one schedules the only activity; a local one would be a workflow task a try.
    kinds = [event.event_type for event in events]
    assert kinds.count(EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED) == 1
    assert kinds[-1] == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED


async def test_why_a_run_cannot_be_started_is_told(
    schedules: SchedulesClient, desk: Desk
) -> None:
    """In the schedule's note, until a later one can."""
    desk.error = "its id is too long"
    await schedules.declare([HOURLY], [], [])

    async def is_told() -> bool:
        (row,) = (await schedules.schedules()).rows
        return row.note is not None

    await until(is_told)
    (row,) = (await schedules.schedules()).rows
    assert row.note == (
        f"the run scheduled__{PAST} could not be started: its id is too long"
    )
    with pytest.raises(DagError, match="its id is too long"):
        await schedules.steer("trigger", ["a"])


@pytest.mark.parametrize("is_starting", [True, False], ids=["starting", "running"])
async def test_a_backfill_that_is_cancelled_ends_the_runs_it_made(
    server: Client, desk: Desk, queue: str, *, is_starting: bool
) -> None:
    """Whether they were just being started, or some are under way; and the scheduler is told."""
    desk.is_patient = is_starting
    if is_starting:
        desk.room.clear()
    request = BackfillRequest("a", PAST, PAST, max_active_runs=3)
    handle = await server.start_workflow(
        BACKFILL_WORKFLOW,
        args=[request, BackfillState()],
        id=f"backfill-{queue}",
        task_queue=queue,
    )
    await desk.starting.wait()

    async def looks() -> bool:
        pending = (await handle.describe()).raw_description.pending_activities
        return any(one.activity_type.name == FIND_ENDED_RUNS for one in pending)

    async def is_asked_to_end() -> bool:
        pending = (await handle.describe()).raw_description.pending_activities
        return not pending or pending[0].state == CANCELLED_SOON

    if not is_starting:
        await until(looks)
    await handle.cancel()
    if is_starting:
        await until(is_asked_to_end)
        desk.room.set()
    with pytest.raises(WorkflowFailureError):
        await handle.result()

    ids = [f"backfill__{i}" for i in range(3)]
    assert (await handle.describe()).status is WorkflowExecutionStatus.CANCELED
    assert (desk.started, desk.abandoned, desk.covered) == (ids, ids, ids)


async def test_a_backfill_tells_why_runs_were_not_started(
    server: Client, desk: Desk, queue: str
) -> None:
    """Each reason once, with the first run it was told for; nobody else says it."""
    desk.error = "Temporal does not take it: too large"
    progress = await server.execute_workflow(
        BACKFILL_WORKFLOW,
        args=[BackfillRequest("a", PAST, PAST), BackfillState()],
        id=f"backfill-{queue}",
        task_queue=queue,
        result_type=BackfillProgress,
    )

    assert progress.failed == 9
    assert progress.errors == [f"backfill__0: {desk.error}"]


async def test_a_backfill_of_many_runs_with_a_large_conf_is_started(
    server: Client, desk: Desk, queue: str
) -> None:
    """Its conf is sent once with many runs, however many there are at once."""
    desk.planned, desk.ended = 600, {"all"}
    conf = {"x": "x" * 900_000}
    request = BackfillRequest("a", PAST, PAST, max_active_runs=600, conf=conf)
    progress = await server.execute_workflow(
        BACKFILL_WORKFLOW,
        args=[request, BackfillState()],
        id=f"backfill-{queue}",
        task_queue=queue,
        result_type=BackfillProgress,
    )

    assert (progress.succeeded, desk.batches) == (600, [250, 250, 100])
    assert [given for given in desk.given if given is not None] == [conf] * 3


async def test_late_runs_with_a_large_conf_are_started_in_parts(
    schedules: SchedulesClient, desk: Desk
) -> None:
    """More than one message takes; others are not held up."""
    large = {"x": "x" * 240_000}
    paused = replace(HOURLY, is_paused=True, conf=large)
    many = [replace(paused, name=f"n{i}", dag_id=f"n{i}") for i in range(12)]
    await schedules.declare(many, [], [])
    await schedules.steer("resume", [one.name for one in many])

    async def is_made() -> bool:
        return len(desk.started) == 12

    await until(is_made)
    assert max(desk.batches) == 4
    assert desk.given == [large] * 12


async def test_every_run_that_is_waited_for_is_looked_at(
    schedules: SchedulesClient, desk: Desk
) -> None:
    """However many there are, and whichever schedule they are of: those of each come early."""
    strict = [
        replace(HOURLY, name=f"n{i:03}", dag_id=f"n{i:03}", max_failures=9)
        for i in range(700)
    ]
    await schedules.declare(strict, [], [])

    async def are_looked_at() -> bool:
        return bool(desk.looked_at) and len(desk.looked_at[-1]) == 700

    await until(are_looked_at)
    desk.ended = {"all"}


async def test_problems_and_schedules_are_told_however_many_there_are(
    schedules: SchedulesClient, desk: Desk
) -> None:
    """What one message cannot hold is told in several, or counted."""
    many = [replace(HOURLY, name=f"n{i}", is_paused=True) for i in range(300)]
    await schedules.declare(many, [], ["x" * 3000] * 1000)
    known = await schedules.schedules()

    assert len(known.rows) == 300
    assert known.problems[0] == "x" * 3000
    assert known.problems[-1] == "and 934 more: see `appliance dags errors`"
    await schedules.declare([], [one.name for one in many], [])
    assert await schedules.declared() == {}
    with pytest.raises(DagError, match=r"its conf is 1\.5 MB as JSON"):
        await schedules.steer("trigger", ["n1"], {"x": "x" * 1_500_000})
