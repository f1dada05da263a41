"""``AirflowScheduler``, one workflow for all DAGs: starts the runs that Airflow's scheduler would start.

It asks timetables through one activity and starts runs through another. As there is one workflow of its id, one
schedules, however many containers there are. As its history holds all it decided, no run is lost or made twice. The
reconcilers of all containers declare to it what to schedule.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import zip_longest

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, is_cancelled_exception
from temporalio.workflow import ActivityCancellationType

with workflow.unsafe.imports_passed_through():
    from appliance.dagrun.timing import ScheduledRun
    from appliance.schedules.details import schedules_table
    from appliance.schedules.input_checks import of_declarations, of_slots, of_steering
    from appliance.schedules.messages import (
        CARRY_SIGNAL,
        COVERED_SIGNAL,
        DECLARE_UPDATE,
        DECLARED_QUERY,
        FIND_ENDED_RUNS,
        RING_SIGNAL,
        SCHEDULER_WORKFLOW,
        SCHEDULES_QUERY,
        START_RUNS,
        STEER_UPDATE,
        BackfilledRuns,
        DeclareRequest,
        KnownSchedule,
        RunName,
        RunOrder,
        RunOutcome,
        ScheduleList,
        ScheduleRow,
        SchedulerState,
        SteerRequest,
        SteerResult,
        TimetableAnswer,
        due,
    )
    from appliance.schedules.model import NextRunQuestion, RunStart, Schedule, Scheduler
    from appliance.temporal import (
        compression,
        entity_loop,
        input_checks,
        limits,
        messages,
    )
    from appliance.worker_questions.messages import ASK_TIMETABLES

_MOST_EVENTS = 2000
_MOST_ASKED = 50
_MOST_STARTED = 100
_TIMEOUT = timedelta(seconds=120)
_START_TIMEOUT = timedelta(seconds=30)
"""How long a worker that was killed delays runs; what takes longer continues in the next attempt."""
_LOOK_AGAIN = timedelta(seconds=1)
_LOOK_SELDOM = timedelta(seconds=10)
_LOOKED_AT = 500
"""Runs that one attempt of ``find_ended_runs`` looks at; the next attempt looks at others."""
_MOST_ASKED_FOR = 5000
_PART_BYTES = 1_000_000
_IN_PARTS = "start-in-parts"
"""Patch id: version 0.1 sent orders together whatever their size."""
_TOO_LARGE = (
    "what it is given is more than the 2 MB Temporal takes; make its conf smaller"
)
_MOST_SLEEP_S = 7 * 86400.0
_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30)
)


@workflow.defn(name=SCHEDULER_WORKFLOW, failure_exception_types=(TypeError,))
class AirflowScheduler:
    """The schedules of all DAGs."""

    @workflow.init
    def __init__(self, state: SchedulerState) -> None:
        """Begin with the state of the last run."""
        input_checks.refuse(input_checks.of_state(state, state.packed or None))
        document = compression.unpacked(state.packed) if state.packed else {}
        self._scheduler = Scheduler.from_json(document)
        self._is_ready = bool(state.packed)
        self._problems = state.problems
        self._by = state.by
        self._has_news = False
        """Whether a message has come since it last looked what is due."""
        self._looked_for: dict[str, tuple[str, ...]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._looks = 0

    @workflow.run
    async def run(self, _state: SchedulerState) -> None:
        """Never end, but continue as new."""
        if not self._is_ready:
            await self._rebuild()
            await self._start(self._scheduler.unconfirmed())
        while not self._is_long():
            self._has_news = False
            await self._work()
            workflow.set_current_details(schedules_table(self._rows()))
            await self._rest()
        await workflow.wait_condition(workflow.all_handlers_finished)
        packed = compression.packed_state(self._scheduler)
        workflow.continue_as_new(SchedulerState(packed, self._problems, self._by))

    @workflow.update(name=DECLARE_UPDATE)
    async def declare(self, request: DeclareRequest) -> None:
        """Apply what changed in files and configuration."""
        input_checks.refuse(of_declarations(request.changed))
        await workflow.wait_condition(lambda: self._is_ready)
        self._scheduler.remove(request.removed)
        self._scheduler.declare(request.changed)
        self._problems = request.problems
        self._by = request.by
        self._has_news = True

    @workflow.update(name=STEER_UPDATE)
    async def steer(self, request: SteerRequest) -> SteerResult:
        """Pause, resume or trigger schedules."""
        input_checks.refuse(of_steering(request))
        await workflow.wait_condition(lambda: self._is_ready)
        result = SteerResult()
        for name in request.names:
            schedule = self._scheduler.find(name)
            if schedule is None:
                result.errors.append(f"there is no schedule {name!r}")
            elif request.verb == "pause":
                self._scheduler.pause(name)
            elif request.verb == "resume":
                self._scheduler.resume(name)
            else:
                await self._trigger(schedule, request, result)
        self._has_news = True
        return result

    @workflow.signal(name=COVERED_SIGNAL)
    async def covered(self, made: BackfilledRuns) -> None:
        """Record the runs a backfill made, so that they are not made again."""
        input_checks.refuse(of_slots(made.slots))
        await workflow.wait_condition(lambda: self._is_ready)
        for run in made.slots:
            self._scheduler.record_backfilled(made.dag_id, run)
        self._has_news = True

    @workflow.signal(name=CARRY_SIGNAL)
    async def carry(self, names: list[str]) -> None:
        """Record which schedules have a Temporal Schedule with times: kept for histories of 0.1 and the upgrade from it."""
        await workflow.wait_condition(lambda: self._is_ready)
        self._scheduler.set_carried(names)
        self._has_news = True

    @workflow.signal(name=RING_SIGNAL)
    def ring(self, _name: str) -> None:
        """Look which runs are due: a Temporal Schedule of version 0.1 started. Kept for histories of 0.1."""
        self._has_news = True

    @workflow.query(name=SCHEDULES_QUERY)
    def schedules(self, name: str | None = None) -> ScheduleList:
        """Return all schedules by name, or the one of this name."""
        if name is None:
            return ScheduleList(self._rows(), self._problems, self._is_ready)
        schedule = self._scheduler.find(name)
        rows = [_row(schedule)] if schedule else []
        return ScheduleList(rows, is_ready=self._is_ready)

    @workflow.query(name=DECLARED_QUERY)
    def declared(self) -> list[KnownSchedule]:
        """Return what was declared, each declaration by its digest."""
        declarations = [schedule.declaration for schedule in self._scheduler]
        return [
            KnownSchedule(
                one.name,
                one.source,
                one.digest,
                one.dag_id,
                one.is_configured,
                self._by,
            )
            for one in declarations
        ]

    @workflow.query(name=messages.STATE_QUERY)
    def state(self) -> str:
        """Return the state, packed; fails until it has been taken over from the last workflow of this id."""
        entity_loop.refuse_until_ready(is_ready=self._is_ready)
        return compression.packed_state(self._scheduler)

    async def _rebuild(self) -> None:
        """Take over the state of a terminated scheduler, so that no run is lost or repeated."""
        self._scheduler = Scheduler.from_json(await entity_loop.taken_over())
        self._is_ready = True

    # -- what is due

    async def _work(self) -> None:
        while not self._is_long():
            now = _now()
            if starts := self._scheduler.take_due(now):
                await self._start(starts)
            elif questions := self._scheduler.questions(now)[:_MOST_ASKED]:
                await self._ask(questions)
            else:
                return

    async def _ask(self, questions: list[NextRunQuestion]) -> None:
        now = _now()
        requests = [due(question, _iso(now)) for question in questions]
        answers: list[TimetableAnswer] = await workflow.execute_local_activity(
            ASK_TIMETABLES,
            requests,
            result_type=list[TimetableAnswer],
            start_to_close_timeout=_TIMEOUT,
            retry_policy=_RETRY,
            summary=f"when {_some([q.name for q in questions])} runs next",
        )
        for question, answer in zip(questions, answers, strict=True):
            runs = [_named(run, question) for run in answer.slots]
            if answer.is_asked:
                self._scheduler.record_answer(question, runs, answer.error, now)

    async def _start(self, starts: list[RunStart]) -> None:
        for first in range(0, len(starts), _MOST_STARTED):
            for batch in _parts(starts[first : first + _MOST_STARTED]):
                errors = await self._start_runs([_order(start) for start in batch])
                for start, error in zip(batch, errors, strict=True):
                    self._scheduler.record_start(start, error)

    async def _start_runs(self, orders: list[RunOrder]) -> list[str | None]:
        if _is_too_large(orders):
            return [_TOO_LARGE] * len(orders)
        # Not a local activity: it may wait long for free disk, which must not grow the history. And not on the queue
        # of the tries, which may occupy every activity slot.
        errors: list[str | None] = await workflow.execute_activity(
            START_RUNS,
            orders,
            task_queue=messages.trigger_queue(workflow.info().task_queue),
            result_type=list[str | None],
            start_to_close_timeout=_START_TIMEOUT,
            retry_policy=_RETRY,
            summary=f"start {_some([order.dag_id for order in orders])}",
        )
        return errors

    async def _trigger(
        self, schedule: Schedule, request: SteerRequest, result: SteerResult
    ) -> None:
        declaration = schedule.declaration
        name = declaration.name
        if declaration.is_barred:
            result.errors.append(f"{name}: {declaration.remark}")
            return
        now = request.at or _iso(_now())
        run = ScheduledRun(run_after=now, run_id=f"manual__{now}", start=now)
        conf = declaration.conf if request.conf is None else request.conf
        order = RunOrder(declaration.dag_id, run, run_type="manual", conf=conf)
        (error,) = await self._start_runs([order])
        if error is None:
            result.runs[name] = run.run_id
        else:
            result.errors.append(f"{name}: {error}")

    # -- until something is due

    async def _rest(self) -> None:
        self._look_after_runs()
        now = _now()
        wake = self._scheduler.wake_at(now)
        pause_s = _MOST_SLEEP_S if wake is None else min(wake - now, _MOST_SLEEP_S)
        try:
            await workflow.wait_condition(
                lambda: self._has_news,
                timeout=timedelta(seconds=max(0.0, pause_s)),
                timeout_summary="the next run",
            )
        except TimeoutError:
            return

    def _look_after_runs(self) -> None:
        """Watch the runs that later ones wait for, by one activity, whose retries leave no events."""
        waiting = self._scheduler.awaited_runs(_now())
        is_looking = self._looking is not None and not self._looking.done()
        if is_looking and waiting == self._looked_for:
            return
        if self._looking is not None:
            self._looking.cancel()
        self._looked_for, self._looking = waiting, None
        if waiting:
            self._looking = asyncio.create_task(self._look(waiting))

    async def _look(self, waiting: dict[str, tuple[str, ...]]) -> None:
        names = self._in_turn(waiting)
        try:
            outcomes: list[RunOutcome] = await workflow.execute_activity(
                FIND_ENDED_RUNS,
                list(names),
                result_type=list[RunOutcome],
                start_to_close_timeout=_TIMEOUT,
                retry_policy=RetryPolicy(
                    initial_interval=_LOOK_AGAIN,
                    backoff_coefficient=1.2,
                    maximum_interval=_LOOK_SELDOM,
                ),
                cancellation_type=ActivityCancellationType.TRY_CANCEL,
                summary="runs that the next ones wait for",
            )
        except ActivityError as err:
            if is_cancelled_exception(err):
                return  # Other runs are looked at now.
            raise
        for outcome in outcomes:
            is_success = outcome.is_success if outcome.is_known else None
            self._scheduler.record_end(
                names[outcome.run], outcome.run.run_id, is_success=is_success
            )
        self._has_news = True

    def _in_turn(self, waiting: dict[str, tuple[str, ...]]) -> dict[RunName, str]:
        """Return run -> name of its schedule, interleaved, so that the first runs of each schedule are looked at soon."""
        runs = [
            [(RunName(schedule.declaration.dag_id, run_id), name) for run_id in run_ids]
            for name, run_ids in waiting.items()
            if (schedule := self._scheduler.find(name)) is not None
        ]
        queue = [one for row in zip_longest(*runs) for one in row if one is not None]
        del queue[_MOST_ASKED_FOR:]
        # Begin further on each time: an end among the first runs ends the activity before it looks at the others.
        first = self._looks * _LOOKED_AT % max(1, len(queue))
        self._looks += 1
        return dict([*queue[first:], *queue[:first]])

    def _is_long(self) -> bool:
        info = workflow.info()
        return (
            info.get_current_history_length() > _MOST_EVENTS
            or info.is_continue_as_new_suggested()
        )

    def _rows(self) -> list[ScheduleRow]:
        return [_row(schedule) for schedule in self._scheduler]


def _named(run: ScheduledRun, question: NextRunQuestion) -> ScheduledRun:
    """Put the name of a schedule of appliance.yaml into the run id: the DAG's own may make a run at the same time."""
    declaration = question.declaration
    if not declaration.is_configured:
        return run
    return replace(run, run_id=f"{run.run_id}__{declaration.name}")


def _order(start: RunStart) -> RunOrder:
    declaration = start.declaration
    return RunOrder(declaration.dag_id, start.slot, conf=declaration.conf)


def _parts(starts: list[RunStart]) -> Iterator[list[RunStart]]:
    """Split runs into parts that Temporal takes as one input."""
    if limits.size_of([_order(start) for start in starts]) <= _PART_BYTES:
        yield starts
    elif workflow.patched(_IN_PARTS):
        yield from limits.parts(starts, _PART_BYTES, size_of=_size_of)
    else:
        yield starts


def _size_of(start: RunStart) -> int:
    return limits.size_of(_order(start))


def _is_too_large(orders: list[RunOrder]) -> bool:
    """Tell whether a run cannot be sent to an activity: retrying that for ever would block all schedules."""
    is_large = len(orders) == 1 and limits.size_of(orders) > limits.PAYLOAD_BYTES
    return is_large and workflow.patched(_IN_PARTS)


def _row(schedule: Schedule) -> ScheduleRow:
    declaration = schedule.declaration
    following = schedule.coming[0].run_after if schedule.coming else None
    last = schedule.last
    return ScheduleRow(
        name=declaration.name,
        dag_id=declaration.dag_id,
        schedule=declaration.summary,
        state="paused" if schedule.is_paused else "active",
        next_run=None if schedule.is_idle else following,
        last_run=(last.start or last.run_after) if last else None,
        source=declaration.source,
        note=schedule.error or schedule.note or declaration.remark or None,
        catchup=declaration.catchup,
        start_date=declaration.earliest,
        end_date=declaration.latest,
        timetable=declaration.timetable,
        conf=declaration.conf,
        last=last,
        is_barred=declaration.is_barred,
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0][:200]}{more}"


def _now() -> float:
    return workflow.now().timestamp()


def _iso(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).isoformat()
