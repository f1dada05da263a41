"""``AirflowScheduler``, one workflow for all DAGs: starts the runs that Airflow's scheduler would start.

It holds the agenda, sleeps until a run is due, asks timetables through an activity and starts runs through another. As
there is one workflow of its name, one schedules, however many containers there are; as everything it decided is in its
history, none of them is lost or made twice. What is to be scheduled it is told by the reconcilers of all containers.
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
"""How long a worker that was killed meanwhile holds runs up; what took longer goes on in the next attempt."""
_LOOK_AGAIN = timedelta(seconds=1)
_LOOK_SELDOM = timedelta(seconds=10)
_LOOKED_AT = 500
"""Runs one attempt looks at; the next attempt looks at others."""
_MOST_ASKED_FOR = 5000
_PART_BYTES = 1_000_000
_IN_PARTS = "start-in-parts"
"""Before, orders were sent together whatever their size."""
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
        """Take over what was known."""
        input_checks.refuse(input_checks.of_state(state, state.packed or None))
        known = compression.unpacked(state.packed) if state.packed else {}
        self._agenda = Scheduler.from_json(known)
        self._is_ready = bool(state.packed)
        self._problems = state.problems
        self._by = state.by
        self._is_stirred = False
        self._looked_for: dict[str, tuple[str, ...]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._looks = 0

    @workflow.run
    async def run(self, _state: SchedulerState) -> None:
        """Never end, but continue as new."""
        if not self._is_ready:
            await self._rebuild()
            await self._start(self._agenda.begun())
        while not self._is_long():
            self._is_stirred = False
            await self._work()
            workflow.set_current_details(schedules_table(self._rows()))
            await self._rest()
        await workflow.wait_condition(workflow.all_handlers_finished)
        known = compression.packed_state(self._agenda)
        workflow.continue_as_new(SchedulerState(known, self._problems, self._by))

    @workflow.update(name=DECLARE_UPDATE)
    async def declare(self, told: DeclareRequest) -> None:
        """Take in what files and configuration have changed to."""
        input_checks.refuse(of_declarations(told.changed))
        await workflow.wait_condition(lambda: self._is_ready)
        self._agenda.remove(told.removed)
        self._agenda.declare(told.changed)
        self._problems = told.problems
        self._by = told.by
        self._is_stirred = True

    @workflow.update(name=STEER_UPDATE)
    async def steer(self, wanted: SteerRequest) -> SteerResult:
        """Do what a person wants."""
        input_checks.refuse(of_steering(wanted))
        await workflow.wait_condition(lambda: self._is_ready)
        done = SteerResult()
        for name in wanted.names:
            entry = self._agenda.find(name)
            if entry is None:
                done.errors.append(f"there is no schedule {name!r}")
            elif wanted.verb == "pause":
                self._agenda.pause(name)
            elif wanted.verb == "resume":
                self._agenda.resume(name)
            else:
                await self._trigger(entry, wanted, done)
        self._is_stirred = True
        return done

    @workflow.signal(name=COVERED_SIGNAL)
    async def covered(self, made: BackfilledRuns) -> None:
        """Take in that a backfill made these runs."""
        input_checks.refuse(of_slots(made.slots))
        await workflow.wait_condition(lambda: self._is_ready)
        for slot in made.slots:
            self._agenda.take_backfilled(made.dag_id, slot)
        self._is_stirred = True

    @workflow.signal(name=CARRY_SIGNAL)
    async def carry(self, names: list[str]) -> None:
        """Take in whose times Temporal Schedules know, which ring."""
        await workflow.wait_condition(lambda: self._is_ready)
        self._agenda.carry(names)
        self._is_stirred = True

    @workflow.signal(name=RING_SIGNAL)
    def ring(self, _name: str) -> None:
        """Look who is due: a Temporal Schedule says that one is."""
        self._is_stirred = True

    @workflow.query(name=SCHEDULES_QUERY)
    def schedules(self, name: str | None = None) -> ScheduleList:
        """Return all schedules by name, or the one of this name."""
        if name is None:
            return ScheduleList(self._rows(), self._problems, self._is_ready)
        entry = self._agenda.find(name)
        return ScheduleList([_row(entry)] if entry else [], is_ready=self._is_ready)

    @workflow.query(name=DECLARED_QUERY)
    def declared(self) -> list[KnownSchedule]:
        """Return what was declared, in short."""
        told = [entry.declaration for entry in self._agenda]
        return [
            KnownSchedule(
                one.name,
                one.source,
                one.digest,
                one.dag_id,
                one.is_configured,
                self._by,
            )
            for one in told
        ]

    @workflow.query(name=messages.STATE_QUERY)
    def state(self) -> str:
        """Return everything known, packed; fails while it is not known what an earlier one knew."""
        entity_loop.refuse_until_ready(is_ready=self._is_ready)
        return compression.packed_state(self._agenda)

    async def _rebuild(self) -> None:
        """Take over from one that somebody terminated, so that it neither forgets nor repeats a run."""
        self._agenda = Scheduler.from_json(await entity_loop.taken_over())
        self._is_ready = True

    # -- what is due

    async def _work(self) -> None:
        while not self._is_long():
            now = _now()
            if starts := self._agenda.due(now):
                await self._start(starts)
            elif questions := self._agenda.questions(now)[:_MOST_ASKED]:
                await self._ask(questions)
            else:
                return

    async def _ask(self, questions: list[NextRunQuestion]) -> None:
        now = _now()
        asked = [due(question, _iso(now)) for question in questions]
        answers: list[TimetableAnswer] = await workflow.execute_local_activity(
            ASK_TIMETABLES,
            asked,
            result_type=list[TimetableAnswer],
            start_to_close_timeout=_TIMEOUT,
            retry_policy=_RETRY,
            summary=f"when {_some([q.name for q in questions])} runs next",
        )
        for question, answer in zip(questions, answers, strict=True):
            slots = [_named(slot, question) for slot in answer.slots]
            if answer.is_asked:
                self._agenda.take_answer(question, slots, answer.error, now)

    async def _start(self, starts: list[RunStart]) -> None:
        for first in range(0, len(starts), _MOST_STARTED):
            for batch in _parts(starts[first : first + _MOST_STARTED]):
                errors = await self._start_runs([_order(start) for start in batch])
                for start, error in zip(batch, errors, strict=True):
                    self._agenda.started(start, error)

    async def _start_runs(self, wanted: list[RunOrder]) -> list[str | None]:
        if _is_too_large(wanted):
            return [_TOO_LARGE] * len(wanted)
        # No local one: it may have to wait long for room, which must not grow the history. Nor beside the tries,
        # which may take all slots there are.
        errors: list[str | None] = await workflow.execute_activity(
            START_RUNS,
            wanted,
            task_queue=messages.trigger_queue(workflow.info().task_queue),
            result_type=list[str | None],
            start_to_close_timeout=_START_TIMEOUT,
            retry_policy=_RETRY,
            summary=f"start {_some([order.dag_id for order in wanted])}",
        )
        return errors

    async def _trigger(
        self, entry: Schedule, wanted: SteerRequest, done: SteerResult
    ) -> None:
        told = entry.declaration
        if told.is_barred:
            done.errors.append(f"{told.name}: {told.remark}")
            return
        now = wanted.at or _iso(_now())
        run_id = f"manual__{now}"
        slot = ScheduledRun(run_after=now, run_id=run_id, start=now)
        conf = told.conf if wanted.conf is None else wanted.conf
        order = RunOrder(told.dag_id, slot, run_type="manual", conf=conf)
        (error,) = await self._start_runs([order])
        if error is None:
            done.runs[told.name] = run_id
        else:
            done.errors.append(f"{told.name}: {error}")

    # -- until something is due

    async def _rest(self) -> None:
        self._look_after_runs()
        now = _now()
        wake = self._agenda.wake_at(now)
        pause_s = _MOST_SLEEP_S if wake is None else min(wake - now, _MOST_SLEEP_S)
        try:
            await workflow.wait_condition(
                lambda: self._is_stirred,
                timeout=timedelta(seconds=max(0.0, pause_s)),
                timeout_summary="the next run",
            )
        except TimeoutError:
            return

    def _look_after_runs(self) -> None:
        """Learn of the end of runs that something waits for; looking leaves no events."""
        waiting = self._agenda.unsettled(_now())
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
            seen: list[RunOutcome] = await workflow.execute_activity(
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
                return  # Others are looked at now.
            raise
        for one in seen:
            is_success = one.is_success if one.is_known else None
            self._agenda.ended(names[one.run], one.run.run_id, is_success=is_success)
        self._is_stirred = True

    def _in_turn(self, waiting: dict[str, tuple[str, ...]]) -> dict[RunName, str]:
        """Return the runs to look at and their schedules, so that each schedule's are looked at soon."""
        runs = [
            [(RunName(entry.declaration.dag_id, run_id), name) for run_id in run_ids]
            for name, run_ids in waiting.items()
            if (entry := self._agenda.find(name)) is not None
        ]
        found = [one for row in zip_longest(*runs) for one in row if one is not None]
        del found[_MOST_ASKED_FOR:]
        # Others come first each time: those of the last time may have been found so soon that no attempt came to the rest.
        first = self._looks * _LOOKED_AT % max(1, len(found))
        self._looks += 1
        return dict([*found[first:], *found[:first]])

    def _is_long(self) -> bool:
        info = workflow.info()
        return (
            info.get_current_history_length() > _MOST_EVENTS
            or info.is_continue_as_new_suggested()
        )

    def _rows(self) -> list[ScheduleRow]:
        return [_row(entry) for entry in self._agenda]


def _named(slot: ScheduledRun, question: NextRunQuestion) -> ScheduledRun:
    """Tell runs of the configuration's schedules from those of the DAG's own."""
    told = question.declaration
    if not told.is_configured:
        return slot
    return replace(slot, run_id=f"{slot.run_id}__{told.name}")


def _order(start: RunStart) -> RunOrder:
    told = start.declaration
    return RunOrder(told.dag_id, start.slot, conf=told.conf)


def _parts(starts: list[RunStart]) -> Iterator[list[RunStart]]:
    """Give what can be sent together."""
    if limits.size_of([_order(start) for start in starts]) <= _PART_BYTES:
        yield starts
    elif workflow.patched(_IN_PARTS):
        yield from limits.parts(starts, _PART_BYTES, size_of=_size_of)
    else:
        yield starts


def _size_of(start: RunStart) -> int:
    return limits.size_of(_order(start))


def _is_too_large(wanted: list[RunOrder]) -> bool:
    """Tell whether a run cannot be sent to be started: trying it again and again would hold up all schedules."""
    is_large = len(wanted) == 1 and limits.size_of(wanted) > limits.PAYLOAD_BYTES
    return is_large and workflow.patched(_IN_PARTS)


def _row(entry: Schedule) -> ScheduleRow:
    told = entry.declaration
    following = entry.coming[0].run_after if entry.coming else None
    last = entry.last
    return ScheduleRow(
        name=told.name,
        dag_id=told.dag_id,
        schedule=told.summary,
        state="paused" if entry.is_paused else "active",
        next_run=None if entry.is_idle else following,
        last_run=(last.start or last.run_after) if last else None,
        source=told.source,
        note=entry.error or entry.note or told.remark or None,
        catchup=told.catchup,
        start_date=told.earliest,
        end_date=told.latest,
        timetable=told.timetable,
        conf=told.conf,
        last=last,
        is_barred=told.is_barred,
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0][:200]}{more}"


def _now() -> float:
    return workflow.now().timestamp()


def _iso(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).isoformat()
