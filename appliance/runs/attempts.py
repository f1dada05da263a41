"""The tries of one run that are under way: starts an activity per decision, turns its end into an event.

Imported by the workflow: deterministic, no clock but ``workflow.now()``.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError
from temporalio.workflow import ActivityCancellationType

from appliance.dagrun.attempt import (
    ActivityTaskInput,
    Callback,
    RunFacts,
    TaskExecutionResult,
)
from appliance.dagrun.events import (
    Event,
    StartTask,
    StartWait,
    TryEnded,
    TryLost,
    TryResumed,
    WaitEnded,
)
from appliance.dagrun.machine import DagRun
from appliance.dagrun.states import FINISHED, TaskState
from appliance.runs import outcomes
from appliance.runs.continue_as_new import CarriedTry
from appliance.runs.deferrals import Deferrals
from appliance.runs.details import try_summary
from appliance.runs.messages import (
    ACTIVITY,
    FIND_HOLDERS,
    FIRST_POKE,
    REATTACH_ACTIVITY,
    TryLocation,
)
from appliance.runs.run_data import MAPPED_TRY_XCOM_BYTES, TRY_XCOM_BYTES, RunData

_ONCE = RetryPolicy(maximum_attempts=1)
_POKES = RetryPolicy(maximum_interval=timedelta(minutes=1))
"""Of a sensor that is poked over and over: the delay until the next poke comes with the failure."""
_NO_LIMIT = timedelta(days=3650)
_LEASE = timedelta(seconds=60)
_REATTACH = timedelta(seconds=30)
_LOOK_TIMEOUT = timedelta(minutes=1)
_CALLS = 3
_ACTIVATION_XCOM_BYTES = 1024 * 1024
"""XComs sent along with all tries started in one workflow task; a response above 4 MB ends the workflow."""


class Attempts:
    """What runs of one run, by task instance."""

    def __init__(
        self,
        facts: RunFacts,
        machine: DagRun,
        ledger: RunData,
        report: Callable[[Event], None],
    ) -> None:
        """Report each end by calling ``report``."""
        self._facts = facts
        self._machine = machine
        self._ledger = ledger
        self._report = report
        self._running: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._spent_bytes = 0
        self.waits = Deferrals(facts, machine.plan, ledger, report, self.call_back_soon)
        self._callbacks: set[asyncio.Task[None]] = set()
        self._parked: dict[
            tuple[str, int], tuple[ActivityTaskInput, TaskExecutionResult]
        ] = {}
        """Tries that have just ended by parking themselves."""
        self._started: dict[tuple[str, int], CarriedTry] = {}
        """What runs, as it can be carried on."""
        self._withheld: dict[tuple[str, int], StartTask] | None = None
        """What does not begin before the run has been handed over; None: everything begins at once."""

    def new_activation(self) -> None:
        """Forget what was sent along so far: a new workflow task has room again."""
        self._spent_bytes = 0

    def start(self, start: StartTask) -> None:
        """Begin a try, or do so after the handover."""
        instance = (start.task_id, start.map_index)
        if self._withheld is not None:
            self._withheld[instance] = start
            return
        task = self._input(start)
        goes_on = start.reschedules > 0 or task.resume is not None
        self._ledger.started(instance, _iso_now(), is_poke=goes_on)
        self._run(CarriedTry(start, task.ti_id, resume=task.resume), task)

    def pause_starts(self) -> None:
        """Begin no more tries for now."""
        self._withheld = self._withheld or {}

    def resume_starts(self) -> None:
        """Begin what was withheld."""
        withheld, self._withheld = self._withheld or {}, None
        for start in withheld.values():
            self.start(start)

    async def locations(self) -> dict[str, TryLocation]:
        """Find out where each try is."""
        found: dict[str, TryLocation] = await workflow.execute_local_activity(
            FIND_HOLDERS,
            result_type=dict[str, TryLocation],
            start_to_close_timeout=_LOOK_TIMEOUT,
            summary="the history is long: hand over to a fresh workflow run",
        )
        return found

    def carried(self, found: Mapping[str, TryLocation]) -> list[CarriedTry] | None:
        """Return every try as it can be carried on; None while one cannot be.

        Args:
            found: Where each is, by id of the try.
        """
        under_way = [one for one in self._running if not self._running[one].done()]
        if self._callbacks or any(self._running[one].cancelling() for one in under_way):
            return None  # It ends in a moment.
        held = []
        for one in map(self._started.__getitem__, under_way):
            if (found_one := _found(one, found.get(one.ti_id))) is None:
                return None
            held.append(found_one)
        withheld = (self._withheld or {}).values()
        return [*held, *(CarriedTry(start) for start in withheld)]

    def resume(self, tries: Iterable[CarriedTry], waits: Mapping[str, Any]) -> None:
        """Go on with what was carried on."""
        self.waits.resume(waits)
        for one in tries:
            if not one.ti_id:
                self.start(one.start)
                continue
            task = replace(self._input(one.start, one.ti_id), resume=one.resume)
            if one.poke_at is not None:
                task = self._pokes(task, one)
            self._run(one, task)

    def park(self, wait: StartWait) -> None:
        """Wait for what a try waits for, or, if it never ran, for what its task starts from."""
        instance = (wait.task_id, wait.map_index)
        task, result = self._parked.pop(instance, (None, None))
        if task is not None and result is not None and result.reschedule_at:
            this = (*instance, task.try_number, task.max_tries, task.reschedules + 1)
            pokes = CarriedTry(
                StartTask(*this), task.ti_id, poke_at=result.reschedule_at
            )
            self._run(pokes, self._pokes(task, pokes))
        else:
            self.waits.start(wait, result.deferral if result else None)

    def cancel(self, task_id: str, map_index: int) -> None:
        """Ask the try of this instance, or its wait, to end, if there is one."""
        if withheld := (self._withheld or {}).pop((task_id, map_index), None):
            self._machine.never_began(task_id, map_index, withheld.try_number)
        if running := self._running.get((task_id, map_index)):
            running.cancel()
        self.waits.cancel(task_id, map_index)

    async def stop(self) -> None:
        """Ask every try to end and wait until all have, and until all callbacks were called; waits just end."""
        self.waits.stop()
        for running in self._running.values():
            running.cancel()
        if self._running:
            await asyncio.gather(*self._running.values(), return_exceptions=True)
        if self._callbacks:
            await asyncio.wait(list(self._callbacks))

    def call_back_soon(self, task: ActivityTaskInput) -> None:
        """Call the callbacks of a try while the run goes on."""
        calling = asyncio.create_task(self.call_back(task))
        self._callbacks.add(calling)
        calling.add_done_callback(self._callbacks.discard)

    async def call_back(self, task: ActivityTaskInput) -> None:
        """Have callbacks called, again when the call vanished with its worker; its end changes nothing."""
        for _ in range(_CALLS):
            if isinstance(await self._outcome(task), TaskExecutionResult):
                return

    def _run(self, one: CarriedTry, task: ActivityTaskInput) -> None:
        self._started[one.instance] = one
        if one.poke_at is not None:
            seen_through = self._poke(task)
        else:
            seen_through = self._run_try(task, one.queue)
        self._running[one.instance] = asyncio.create_task(seen_through)

    def _pokes(self, task: ActivityTaskInput, one: CarriedTry) -> ActivityTaskInput:
        """Make the input of all further pokes of a sensor from that of a try."""
        return replace(
            task,
            resume=None,
            own_keys=(),
            reschedules=one.start.reschedules,
            first_start=self._ledger.first_poke(one.instance),
            poke_at=one.poke_at,
        )

    def _input(self, start: StartTask, ti_id: str | None = None) -> ActivityTaskInput:
        instance = (start.task_id, start.map_index)
        limit = TRY_XCOM_BYTES if start.map_index < 0 else MAPPED_TRY_XCOM_BYTES
        limit = min(limit, _ACTIVATION_XCOM_BYTES - self._spent_bytes)
        upstreams = self._machine.direct_upstreams(start.task_id)
        rows, complete, used = self._ledger.send_along(upstreams, limit)
        self._spent_bytes += used
        return ActivityTaskInput(
            run=self._facts,
            task_id=start.task_id,
            map_index=start.map_index,
            try_number=start.try_number,
            max_tries=start.max_tries,
            ti_id=ti_id or str(workflow.uuid4()),
            xcoms=rows,
            complete=complete,
            own_keys=self._ledger.keys(instance),
            xcom_budget_bytes=self._ledger.budget_bytes,
            reschedules=start.reschedules,
            first_start=self._ledger.first_poke(instance)
            if start.reschedules
            else None,
            resume=self.waits.resumption(instance, start.try_number),
            is_exempt=start.task_id in self._machine.plan.exempt or None,
        )

    async def _run_try(self, task: ActivityTaskInput, queue: str) -> None:
        if (end := await self._end_of(task, queue)) is not None:
            self._report(end)

    async def _poke(self, task: ActivityTaskInput) -> None:
        async with self.waits.seats:
            if (end := await self._end_of(task)) is not None:
                self._report(WaitEnded(end))

    async def _end_of(
        self, task: ActivityTaskInput, queue: str = ""
    ) -> TryEnded | TryLost | None:
        """See a try through; None when it was stopped before it had ended."""
        instance = (task.task_id, task.map_index)
        outcome = await self._outcome(task, queue)
        if self._running.get(instance) is asyncio.current_task():
            del self._running[instance], self._started[instance]
        if not isinstance(outcome, TaskExecutionResult):
            self._ledger.lost(instance, _iso_now())
            return self._lost(task, outcome)
        self._ledger.ended(instance, outcome)
        is_watched = self._is_watched(task, outcome)
        if is_watched or outcome.deferral is not None:
            self._parked[instance] = (task, outcome)
        return outcomes.ended(task, outcome, is_watched=is_watched)

    def _lost(
        self,
        task: ActivityTaskInput,
        outcome: outcomes.HeartbeatTimeout | outcomes.Gone,
    ) -> TryLost | None:
        this = (task.task_id, task.map_index, task.try_number)
        if outcome is outcomes.Gone.LOST or isinstance(
            outcome, outcomes.HeartbeatTimeout
        ):
            if _is_stopped():
                return None
            self._tell_of_loss(task)
            return TryLost(*this)
        if _is_stopped():
            self._machine.never_began(*this)
            return None
        if task.resume is not None:
            instance = (task.task_id, task.map_index)
            self.waits.resume_later(instance, task.try_number, task.resume)
        self._report(TryResumed(task.task_id, task.map_index, has_begun=False))
        return None

    def _tell_of_loss(self, task: ActivityTaskInput) -> None:
        """Have the callbacks called of a task whose try was lost, as Airflow has of one without a heartbeat."""
        spec = self._machine.plan.tasks[task.task_id]
        is_told = spec.has_on_retry_callback or spec.has_on_failure_callback
        before = self._row(task)
        if is_told and before[2] not in FINISHED and workflow.patched("told-losses"):
            telling = asyncio.create_task(self._tell_when_known(task, before))
            self._callbacks.add(telling)
            telling.add_done_callback(self._callbacks.discard)

    async def _tell_when_known(
        self, task: ActivityTaskInput, before: tuple[Any, ...]
    ) -> None:
        await workflow.wait_condition(lambda: self._row(task) != before)
        if (state := self._row(task)[2]) not in FINISHED:
            state = TaskState.UP_FOR_RETRY
        elif state != TaskState.FAILED:
            return  # Its run has ended meanwhile.
        callback = Callback(
            is_failure=True, reason=str(state), end_date=_iso_now(), is_of_try=True
        )
        if getattr(self._machine.plan.tasks[task.task_id], f"has_{callback.name}"):
            told = replace(task, resume=None, poke_at=None, callback=callback)
            await self.call_back(replace(told, ti_id=str(workflow.uuid4())))

    def _row(self, task: ActivityTaskInput) -> tuple[Any, ...]:
        this = (task.task_id, task.map_index)
        return next(row for row in self._machine.rows() if row[:2] == this)

    def _is_watched(self, task: ActivityTaskInput, result: TaskExecutionResult) -> bool:
        """Tell whether a sensor's further pokes may be retries of one activity, which leave no events.

        They are not seen by the limits of the run, so where one is tight each poke is a try of its own.
        """
        plan = self._machine.plan
        spec = plan.tasks[task.task_id]
        is_limited = spec.active_limit is not None or task.task_id in plan.lent
        return (
            outcomes.is_plain_poke(result)
            and not is_limited
            and plan.max_active_tasks > 1
            and not self.waits.seats.locked()
        )

    async def _outcome(
        self, task: ActivityTaskInput, queue: str = ""
    ) -> TaskExecutionResult | outcomes.HeartbeatTimeout | outcomes.Gone:
        """See a try through, or the one that the worker with this ``queue`` holds."""
        outcome: TaskExecutionResult | outcomes.HeartbeatTimeout | outcomes.Gone
        outcome = outcomes.HeartbeatTimeout(queue) if queue else outcomes.Gone.NOT_BEGUN
        while not _is_stopped():
            if outcome is outcomes.Gone.NOT_BEGUN:
                if task.is_exempt and task.task_id not in self._machine.plan.exempt:
                    return outcomes.Gone.SENT_BACK
                outcome = await self._execute(task, ACTIVITY, None)
            elif isinstance(outcome, outcomes.HeartbeatTimeout):
                known = replace(task, xcoms=(), complete=())
                outcome = await self._execute(known, REATTACH_ACTIVITY, outcome.queue)
            else:
                break
        return outcome

    async def _execute(
        self, task: ActivityTaskInput, activity: str, queue: str | None
    ) -> TaskExecutionResult | outcomes.HeartbeatTimeout | outcomes.Gone:
        is_again = activity == REATTACH_ACTIVITY
        try:
            result: dict[str, Any] = await workflow.execute_activity(
                activity,
                outcomes.given(task),
                activity_id=task.ti_id,
                result_type=dict,
                task_queue=queue,
                schedule_to_start_timeout=_REATTACH if is_again else None,
                start_to_close_timeout=_NO_LIMIT,
                heartbeat_timeout=_LEASE,
                retry_policy=_POKES if task.poke_at else _ONCE,
                cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
                summary=_summary(task),
            )
        except ActivityError as err:
            outcome = outcomes.classify(err)
            if outcome is None:
                return outcomes.failed(task, _iso_now(), str(err.cause))
            return outcome
        return outcomes.result_of(result)


def _found(one: CarriedTry, at: TryLocation | None) -> CarriedTry | None:
    """Say how a try can be carried on; None: not at this moment."""
    if at is None:
        return None
    if one.poke_at is None:
        return replace(one, queue=at.queue) if at.queue else None
    if at.again_at is None:
        return None  # It is being poked.
    pokes = one.start.reschedules + max(0, at.attempt - FIRST_POKE)
    start = replace(one.start, reschedules=pokes)
    is_first = at.attempt < FIRST_POKE
    return replace(one, start=start, poke_at=one.poke_at if is_first else at.again_at)


def _summary(task: ActivityTaskInput) -> str:
    callback = task.callback
    if callback is not None and not callback.is_of_try:
        return callback.name
    title = try_summary(task.task_id, task.map_index, task.try_number)
    return title if callback is None else f"{title} · {callback.name}"


def _is_stopped() -> bool:
    """Whether the try of the current task was asked to end."""
    current = asyncio.current_task()
    return current is not None and current.cancelling() > 0


def _iso_now() -> str:
    return workflow.now().isoformat()
