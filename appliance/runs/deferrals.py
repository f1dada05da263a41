"""Deferred and waiting tries of one run: starts their waits, resumes or ends them.

A wait for a moment is a timer, one for a trigger an activity that any worker may take over, and none holds a slot for
tries. Imported by the workflow: deterministic, no clock but ``workflow.now()``.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, CancelledError
from temporalio.exceptions import TimeoutError as ActivityTimeoutError
from temporalio.workflow import ActivityCancellationType

from appliance.dagrun.attempt import (
    ActivityTaskInput,
    Callback,
    RunFacts,
    TaskExecutionResult,
    XComRow,
)
from appliance.dagrun.deferral import FAIL, Deferral, Resumption, Trigger, TriggerResult
from appliance.dagrun.events import Event, StartWait, TryEnded, TryResumed, WaitEnded
from appliance.dagrun.plan import Plan
from appliance.dagrun.states import TaskState
from appliance.runs import outcomes
from appliance.runs.details import try_summary
from appliance.runs.hitl import HitlQuestion
from appliance.runs.messages import TRIGGER_ACTIVITY, Response
from appliance.runs.run_data import RunData
from appliance.temporal import messages

_MOST_ACTIVITIES = 900
"""Of those that wait; beside the tries that run there is room for so many."""
_NO_LIMIT = timedelta(days=3650)
_SILENCE = timedelta(minutes=3)
"""After so long without a heartbeat another worker takes the wait over."""
_OVER_AND_OVER = RetryPolicy(maximum_interval=timedelta(seconds=30))
_TOLD = (TaskState.FAILED, TaskState.UP_FOR_RETRY)
"""Ends by a trigger of which a task's callbacks are told; Airflow 3.3 asks for ``on_success_callback``, and calls nothing."""
_TIMED_OUT = "Trigger timeout"
_FAILED = "Trigger failure"

Instance = tuple[str, int]


@dataclass(frozen=True, slots=True)
class DeferredTry:
    """One wait; plain data."""

    task_id: str
    map_index: int
    try_number: int
    max_tries: int
    wait_id: str
    """Names it wherever it is taken over."""
    deferral: Deferral | None
    """None: the task was never run and starts from its trigger."""
    deadline: float | None

    @property
    def instance(self) -> Instance:
        """Whose wait it is."""
        return self.task_id, self.map_index

    @property
    def question(self) -> HitlQuestion | None:
        """What a person is asked."""
        asked = self.deferral.question if self.deferral else None
        if asked is None:
            return None
        return HitlQuestion(self.task_id, self.map_index, asked, self.deadline)

    @property
    def title(self) -> str:
        """Its name in the UI."""
        return try_summary(self.task_id, self.map_index, self.try_number)


class Deferrals:
    """What is waited for, by task instance."""

    def __init__(
        self,
        facts: RunFacts,
        plan: Plan,
        ledger: RunData,
        report: Callable[[Event], None],
        call_back: Callable[[ActivityTaskInput], None],
    ) -> None:
        """Report each end by calling ``report``; have callbacks called by ``call_back``."""
        self._facts = facts
        self._plan = plan
        self._ledger = ledger
        self._report = report
        self._call_back = call_back
        self._waits: dict[Instance, DeferredTry] = {}
        self._tasks: dict[Instance, asyncio.Task[None]] = {}
        self._answers: dict[Instance, Response] = {}
        self._resumptions: dict[Instance, tuple[int, Resumption]] = {}
        self.seats = asyncio.Semaphore(_MOST_ACTIVITIES)
        """Held by every activity that waits."""

    def start(self, start: StartWait, deferral: Deferral | None) -> None:
        """Begin to wait; ``deferral`` None: for what the task starts from."""
        instance = (start.task_id, start.map_index)
        if deferral is None:
            self._ledger.started(instance, workflow.now().isoformat(), is_poke=False)
            timeout_s = self._plan.tasks[start.task_id].trigger_timeout_s
        else:
            timeout_s = deferral.timeout_s
        wait = DeferredTry(
            task_id=start.task_id,
            map_index=start.map_index,
            try_number=start.try_number,
            max_tries=start.max_tries,
            wait_id=str(workflow.uuid4()),
            deferral=deferral,
            deadline=None if timeout_s is None else _now() + timeout_s,
        )
        self._waits[instance] = wait
        self._tasks[instance] = asyncio.create_task(self._run(wait))

    def cancel(self, task_id: str, map_index: int) -> None:
        """End the wait of this instance, if there is one."""
        self._waits.pop((task_id, map_index), None)
        self._answers.pop((task_id, map_index), None)
        if task := self._tasks.pop((task_id, map_index), None):
            task.cancel()

    def stop(self) -> None:
        """End every wait."""
        for task_id, map_index in list(self._tasks):
            self.cancel(task_id, map_index)

    def questions(self) -> list[HitlQuestion]:
        """Return what people are asked and have not answered."""
        waits = (w for w in self._waits.values() if w.instance not in self._answers)
        return [asked for wait in waits if (asked := wait.question) is not None]

    def objection(self, response: Response) -> str | None:
        """Say why an answer cannot be taken; None if it can."""
        questions = self.questions()
        for question in questions:
            if (question.task_id, question.map_index) == _asker(response):
                return question.objection(response)
        asked = HitlQuestion(response.task_id, response.map_index, {}).name
        waiting = ", ".join(question.name for question in questions)
        who = f"These do: {waiting}." if waiting else "No task does."
        return f"{asked} asks nothing now. {who}"

    def answer(self, response: Response) -> None:
        """Take an answer to which there is no objection."""
        self._answers[_asker(response)] = response

    def resumption(self, instance: Instance, try_number: int) -> Resumption | None:
        """Say how this try goes on, once; None if it begins."""
        parked_try, resumption = self._resumptions.pop(instance, (0, None))
        return resumption if parked_try == try_number else None

    def resume_later(
        self, instance: Instance, try_number: int, resumption: Resumption
    ) -> None:
        """Take back how this try goes on: it has not begun, and will do so later."""
        self._resumptions[instance] = (try_number, resumption)

    def to_json(self) -> dict[str, Any]:
        """Write every wait, and how tries go on whose wait is over."""
        return {
            "waits": [asdict(wait) for wait in self._waits.values()],
            "resumptions": [
                [*instance, try_number, asdict(resumption)]
                for instance, (try_number, resumption) in self._resumptions.items()
            ],
            "answers": [asdict(answer) for answer in self._answers.values()],
        }

    def resume(self, data: Mapping[str, Any]) -> None:
        """Go on with what ``to_json`` wrote."""
        for answer in data["answers"]:
            self.answer(Response(**answer))
        for task_id, map_index, try_number, resumption in data["resumptions"]:
            goes_on = Resumption(**resumption)
            self._resumptions[task_id, map_index] = (try_number, goes_on)
        for body in data["waits"]:
            held = body["deferral"]
            wait = DeferredTry(
                **{**body, "deferral": Deferral(**held) if held else None}
            )
            self._waits[wait.instance] = wait
            self._tasks[wait.instance] = asyncio.create_task(self._run(wait))

    async def _run(self, wait: DeferredTry) -> None:
        with suppress(asyncio.CancelledError):
            if wait.question is not None:
                await self._ask(wait, wait.question)
            elif wait.deferral is not None and wait.deferral.moment is not None:
                await self._sleep(wait, wait.deferral, wait.deferral.moment)
            else:
                await self._await_trigger(wait)

    async def _ask(self, wait: DeferredTry, question: HitlQuestion) -> None:
        left = _left(wait)
        try:
            await workflow.wait_condition(
                lambda: wait.instance in self._answers,
                timeout=left,
                timeout_summary=f"{wait.title} · awaiting input" if left else None,
            )
        except TimeoutError:
            event = question.unanswered(_now())
        else:
            event = question.answered(self._answers.pop(wait.instance), _now())
        assert wait.deferral is not None  # noqa: S101  # it has the question
        self._resume(wait, wait.deferral, {"event": event}, is_answered=True)

    async def _sleep(
        self, wait: DeferredTry, deferral: Deferral, moment: float
    ) -> None:
        is_timeout = wait.deadline is not None and wait.deadline < moment
        until = wait.deadline if is_timeout and wait.deadline else moment
        if (left_s := until - _now()) > 0:
            at = datetime.fromtimestamp(until, UTC).isoformat(timespec="seconds")
            await workflow.sleep(left_s, summary=f"{wait.title} · until {at}")
        if is_timeout:
            self._fail(wait, _TIMED_OUT)
        elif deferral.ends_task:
            self._end(wait, TriggerResult(state=TaskState.SUCCESS))
        else:
            self._resume(wait, deferral, {"event": deferral.event})

    async def _await_trigger(self, wait: DeferredTry) -> None:
        try:
            result = await self._trigger(wait)
        except ActivityError as err:
            match err.cause:
                case CancelledError():
                    return
                case ActivityTimeoutError():
                    self._fail(wait, _TIMED_OUT)
                case cause:
                    self._fail(wait, _FAILED, [str(cause)])
            return
        if result is None:
            self._fail(wait, _TIMED_OUT)
        elif result.failed:
            self._fail(wait, _FAILED, result.traceback)
        elif result.state is not None:
            self._end(wait, result)
        else:
            self._put(wait, TaskState.DEFERRED, result)
            deferral = wait.deferral or Deferral(
                result.next_method or FAIL, sealed=result.sealed
            )
            self._resume(wait, deferral, {"event": result.event})

    async def _trigger(self, wait: DeferredTry) -> TriggerResult | None:
        """Wait for a trigger; None when there was no room for one in time."""
        if self.seats.locked() and (left := _left(wait)) is not None:
            try:
                await asyncio.wait_for(self.seats.acquire(), left.total_seconds())
            except TimeoutError:
                return None
        else:
            await self.seats.acquire()
        try:
            body: dict[str, Any] = await workflow.execute_activity(
                TRIGGER_ACTIVITY,
                outcomes.given(self._input(wait)),
                result_type=dict,
                task_queue=messages.trigger_queue(workflow.info().task_queue),
                schedule_to_close_timeout=_left(wait),
                start_to_close_timeout=_NO_LIMIT,
                heartbeat_timeout=_SILENCE,
                retry_policy=_OVER_AND_OVER,
                cancellation_type=ActivityCancellationType.TRY_CANCEL,
                summary=f"{wait.title} · deferred",
            )
        finally:
            self.seats.release()
        state = body.get("state")
        return TriggerResult(**{**body, "state": TaskState(state) if state else None})

    def _input(self, wait: DeferredTry) -> ActivityTaskInput:
        deferral = wait.deferral
        return ActivityTaskInput(
            run=self._facts,
            task_id=wait.task_id,
            map_index=wait.map_index,
            try_number=wait.try_number,
            max_tries=wait.max_tries,
            ti_id=wait.wait_id,
            xcom_budget_bytes=self._ledger.budget_bytes,
            trigger=Trigger(
                classpath=deferral.classpath if deferral else None,
                sealed=deferral.sealed if deferral else None,
                deadline=wait.deadline,
            ),
        )

    def _fail(
        self, wait: DeferredTry, error: str, traceback: list[str] | None = None
    ) -> None:
        """Let the task go on only to fail: its callbacks are then called where tasks run."""
        kwargs = {"error": error, "traceback": traceback}
        self._resume(wait, Deferral(FAIL), kwargs)

    def _resume(
        self,
        wait: DeferredTry,
        deferral: Deferral,
        kwargs: dict[str, Any],
        *,
        is_answered: bool = False,
    ) -> None:
        start_date = self._ledger.start_of(wait.instance)
        how = (deferral.next_method, deferral.sealed, kwargs)
        goes_on = Resumption(*how, start_date, is_answered=is_answered)
        self._resumptions[wait.instance] = (wait.try_number, goes_on)
        self._forget(wait)
        self._report(TryResumed(wait.task_id, wait.map_index))

    def _end(self, wait: DeferredTry, result: TriggerResult) -> None:
        """Take the end of a task from its trigger."""
        state = result.state or TaskState.FAILED
        if state is TaskState.FAILED and 0 < wait.try_number <= wait.max_tries:
            state = TaskState.UP_FOR_RETRY
        rows = self._put(wait, state, result)
        self._forget(wait)
        returned = any(row.key == "return_value" and row.value for row in rows)
        end = TryEnded(*wait.instance, wait.try_number, state, returned=returned)
        self._report(WaitEnded(end))
        if state in _TOLD:
            self._tell(wait, state)

    def _tell(self, wait: DeferredTry, state: TaskState) -> None:
        """Have the callbacks called of a task whose trigger has failed it."""
        now = workflow.now().isoformat()
        callback = Callback(
            is_failure=True, reason=str(state), end_date=now, is_of_try=True
        )
        if getattr(self._plan.tasks[wait.task_id], f"has_{callback.name}"):
            task = replace(self._input(wait), trigger=None, callback=callback)
            self._call_back(replace(task, ti_id=str(workflow.uuid4())))

    def _put(
        self, wait: DeferredTry, state: TaskState, result: TriggerResult
    ) -> tuple[XComRow, ...]:
        """Keep what a trigger has pushed, unless the task is tried again."""
        is_kept = state is not TaskState.UP_FOR_RETRY
        rows = tuple(XComRow(**row) for row in result.xcoms) if is_kept else ()
        now = workflow.now().isoformat()
        start = self._ledger.start_of(wait.instance) or now
        self._ledger.ended(
            wait.instance, TaskExecutionResult(state, start, now, xcoms=rows)
        )
        return rows

    def _forget(self, wait: DeferredTry) -> None:
        if self._waits.get(wait.instance) is wait:
            del self._waits[wait.instance]
            self._tasks.pop(wait.instance, None)


def _asker(response: Response) -> Instance:
    return response.task_id, response.map_index


def _left(wait: DeferredTry) -> timedelta | None:
    if wait.deadline is None:
        return None
    # A timeout of nothing would mean none.
    return timedelta(seconds=max(0.001, wait.deadline - _now()))


def _now() -> float:
    return workflow.now().timestamp()
