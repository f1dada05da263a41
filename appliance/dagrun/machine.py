"""``DagRun``, the state machine of one DAG run: events in, decisions out.

The driver tells ``DagRun`` what happened and when; the machine answers what is to be done. It never looks at a
clock, and the same events at the same times give the same decisions, so it can be replayed.

1. Every event of a call is applied before anything is decided (events of one call are simultaneous).
2. Then passes (``passes.py``) are made until one changes nothing. Instances that may run become SCHEDULED,
   and their try number grows, before the gate (``gate.py``) starts as many as the limits of the run allow.
3. A try that ends after the machine has stopped it, or a second time, is ignored.

Source: Airflow 3.3: ``SchedulerJobRunner._schedule_dag_run``, ``DagRun.schedule_tis``, ``task_instances.py``.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Self

from appliance.dagrun import snapshot, termination
from appliance.dagrun.events import (
    CancelRequested,
    Decision,
    Event,
    FinishRun,
    PastMet,
    PoolsScarce,
    SlotsAwaited,
    SlotsGranted,
    StartTask,
    StartWait,
    StopTask,
    TimeReached,
    TryEnded,
    TryLost,
    TryResumed,
    WaitEnded,
    WaitUntil,
)
from appliance.dagrun.graph import Graph
from appliance.dagrun.passes import Pass, PassReport
from appliance.dagrun.plan import Plan
from appliance.dagrun.ready_queue import ReadyQueue
from appliance.dagrun.retries import MAX_TASK_RETRY_DELAY_S, hash_date, retry_delay_s
from appliance.dagrun.states import FINISHED, PARKED, RunState, TaskState
from appliance.dagrun.task_instances import (
    NEVER,
    InstanceFacts,
    TaskInstance,
    TaskInstances,
)
from appliance.dagrun.wakeups import Wakeups

JUST_AFTER_S = 1e-6
"""Retries and the run's timeout are due strictly after their time."""

_NOT_SKIPPED_BY_TASKS = frozenset(
    (TaskState.RUNNING, TaskState.SUCCESS, TaskState.FAILED)
)


class DagRun:
    """The state machine of one run.

    Args:
        plan: The DAG.
        logical_date: ISO 8601 with a zone; tasks whose dates exclude it are left out, and it seeds the jitter
            of retry delays.
        is_backfill: Whether the start dates of tasks do not matter.
        retry_lost: Whether a try that vanished with its worker is run again whatever its task's ``retries``.
        max_lost: How often one instance may be; its next loss is a failed try like any other.
        max_task_retry_delay_s: Airflow's ``[core] max_task_retry_delay``.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        logical_date: str | None,
        is_backfill: bool = False,
        retry_lost: bool = True,
        max_lost: int = 3,
        max_task_retry_delay_s: float = MAX_TASK_RETRY_DELAY_S,
    ) -> None:
        self.plan = plan
        self.state = RunState.QUEUED
        self.passes: tuple[PassReport, ...] = ()
        """The passes made by the last ``start`` or ``receive``; the last one did nothing."""
        self._logical_date = hash_date(logical_date)
        self._max_lost = max_lost if retry_lost else 0
        self._max_task_retry_delay_s = max_task_retry_delay_s
        self._graph = Graph(plan)
        self._gate = ReadyQueue(plan)
        left_out = plan.left_out(logical_date, is_backfill=is_backfill)
        self._board = TaskInstances(self._graph, self._note_change, left_out)
        self._now = 0.0
        self._times_out_at: float | None = None
        self._alarm = Wakeups()
        self._is_cancelled = False
        self._decisions: list[Decision] = []

    def start(self, now: float) -> list[Decision]:
        """Start the run; called once."""
        self.state = RunState.RUNNING
        if self.plan.dagrun_timeout_s is not None:
            self._times_out_at = now + self.plan.dagrun_timeout_s
        return self._decide(now)

    def receive(self, events: Sequence[Event], now: float) -> list[Decision]:
        """Take in what has happened, all at once, and decide what follows.

        Stops come first, then starts in the order of their priority, then at most one wake-up call, then the
        end of the run. Once the run has ended nothing is decided any more.
        """
        if self.state is not RunState.RUNNING:
            return []
        self._now = now
        for event in events:
            if self.state is RunState.RUNNING:
                self._apply(event)
        return self._decide(now)

    def to_json(self) -> dict[str, Any]:
        """Write where the run stands as plain JSON values; ``from_json`` goes on as if nothing had been.

        Pending wake-up calls are kept (``wakes``), but somebody must make them again.
        """
        return {
            "logical_date": self._logical_date,
            "max_lost": self._max_lost,
            "max_task_retry_delay": self._max_task_retry_delay_s,
            "state": self.state,
            "times_out_at": self._times_out_at,
            "is_cancelled": self._is_cancelled,
            "wakes": self.wakes,
            **snapshot.write(self._board),
        }

    @classmethod
    def from_json(cls, plan: Plan, data: Mapping[str, Any]) -> Self:
        """Read what ``to_json`` wrote for a run of the same plan."""
        run = cls(
            plan,
            logical_date=None,  # what it leaves out is among the instances
            max_lost=data["max_lost"],
            max_task_retry_delay_s=data["max_task_retry_delay"],
        )
        run.state = RunState(data["state"])
        run._logical_date = data["logical_date"]
        run._times_out_at = data["times_out_at"]
        run._is_cancelled = data["is_cancelled"]
        run._alarm = Wakeups(list(data["wakes"]))
        snapshot.read(run._board, data)
        run._gate.refill(run._board.in_hand)
        return run

    @property
    def wakes(self) -> list[float]:
        """The times of all ``WaitUntil`` whose ``TimeReached`` has not come yet."""
        return list(self._alarm.calls)

    def never_began(self, task_id: str, map_index: int, try_number: int) -> None:
        """Take in that a try which was stopped had only waited for its turn.

        Airflow calls such an instance queued and skips it where a running one fails.
        """
        instance = self._board.find((task_id, map_index))
        if instance is not None and instance.try_number == try_number:
            termination.unbegun(instance, self._board.set_state)

    def rows(self) -> list[tuple[str, int, TaskState | None, int]]:
        """Return (task_id, map_index, state, try_number) of every instance, in that order."""
        return sorted(
            (i.task.task_id, i.map_index, i.state, i.try_number)
            for i in self._board.instances()
        )

    def counts(self) -> dict[str | None, int]:
        """Return how many instances are in each state; None for those nothing has happened to."""
        return dict(Counter(i.state for i in self._board.instances()))

    def instance(self, task_id: str, map_index: int) -> InstanceFacts | None:
        """Return one instance as it stands; None if there is none (yet)."""
        found = self._board.find((task_id, map_index))
        return found.facts if found else None

    def direct_upstreams(self, task_id: str) -> tuple[str, ...]:
        """Return the ids of a task's direct upstreams, sorted."""
        return self._graph.links[task_id].up

    def feeds_mapping(self, task_id: str) -> bool:
        """Tell whether a task's return value decides how often another is expanded."""
        return bool(self._graph.links[task_id].readers)

    # What the outside world reports

    def _apply(self, event: Event) -> None:
        match event:
            case TryEnded() | TryLost() | WaitEnded():
                self._hear_end(event)
            case TryResumed():
                self._resume_try(event)
            case PastMet(task_ids):
                self._board.meet_past(task_ids)
            case SlotsGranted() | SlotsAwaited():
                self._gate.hear(event)
            case PoolsScarce():
                self.plan = self._gate.widen(event, self._board.in_hand)
            case TimeReached():
                self._alarm.ring(self._now)
            case CancelRequested():
                self._is_cancelled = True
                termination.mark_failed(self._board.instances(), self._board.set_state)

    def _hear_end(self, event: TryEnded | TryLost | WaitEnded) -> None:
        end = event.end if isinstance(event, WaitEnded) else event
        instance = self._board.find((end.task_id, end.map_index))
        if instance is None or instance.try_number != end.try_number:
            return
        is_wait = isinstance(event, WaitEnded)
        if not (instance.is_parked if is_wait else instance.has_try):
            return
        if isinstance(end, TryLost):
            self._lose_try(instance)
        else:
            self._end_try(instance, end)

    def _end_try(self, instance: TaskInstance, event: TryEnded) -> None:
        for key in event.skipped:
            self._skip_on_request(self._board.find(key))
        if event.skip_verdict is not None:
            self._board.record_verdict(instance, event.skip_verdict)
        node = self._board.nodes[instance.task.task_id]
        if instance.map_index < 0:
            node.return_length = event.return_length
        elif event.returned:
            node.pushed.add(instance.map_index)
        self._close_try(instance, event)

    def _skip_on_request(self, instance: TaskInstance | None) -> None:
        if instance is not None and instance.state not in _NOT_SKIPPED_BY_TASKS:
            self._board.set_state(instance, TaskState.SKIPPED)

    def _close_try(self, instance: TaskInstance, event: TryEnded) -> None:
        match event.state:
            case TaskState.UP_FOR_RETRY:
                self._wait_for_retry(instance, event.retry_delay_s)
            case TaskState.UP_FOR_RESCHEDULE:
                instance.due = event.reschedule_at or self._now
                instance.reschedules += 1
                self._leave(instance, event.state)
                if event.is_watched:
                    self._park(instance)
            case state if state in PARKED:
                self._leave(instance, state)
                self._park(instance)
            case state if state in FINISHED:
                self._finish_instance(instance, state)
            case _:
                # Unknown is never success.
                self._finish_instance(instance, TaskState.FAILED)

    def _lose_try(self, instance: TaskInstance) -> None:
        if instance.losses < self._max_lost:
            instance.losses += 1
            self._schedule(instance, is_new_try=True)
        elif instance.try_number <= instance.task.retries:
            self._wait_for_retry(instance, None)
        else:
            self._finish_instance(instance, TaskState.FAILED)

    def _resume_try(self, event: TryResumed) -> None:
        instance = self._board.find((event.task_id, event.map_index))
        if instance and instance.may_resume(has_begun=event.has_begun):
            self._schedule(instance, is_new_try=False)

    def _park(self, instance: TaskInstance) -> None:
        """Leave the try to others until they say that it goes on or has ended."""
        instance.due = NEVER
        instance.is_parked = True
        tries = (instance.try_number, instance.task.retries)
        self._decisions.append(StartWait(*instance.key, *tries))

    def _wait_for_retry(self, instance: TaskInstance, delay_s: float | None) -> None:
        if delay_s is None:
            delay_s = retry_delay_s(
                instance.task,
                dag_id=self.plan.dag_id,
                logical_date=self._logical_date,
                try_number=instance.try_number,
                max_task_retry_delay_s=self._max_task_retry_delay_s,
            )
        instance.due = self._now + delay_s
        self._leave(instance, TaskState.UP_FOR_RETRY)

    def _finish_instance(self, instance: TaskInstance, state: TaskState) -> None:
        if state is TaskState.FAILED and self.plan.fail_fast:
            others = (i for i in self._board.instances() if i.task is not instance.task)
            termination.fail_fast(others, self._board.set_state)
        self._leave(instance, state)

    def _leave(self, instance: TaskInstance, state: TaskState) -> None:
        """Let an instance whose try has ended take its next state."""
        instance.has_try = instance.is_parked = False
        self._board.set_state(instance, state)

    # What follows

    def _decide(self, now: float) -> list[Decision]:
        self._now = now
        passes: list[PassReport] = []
        if self._times_out_at is not None and self._times_out_at < now:
            self._time_out()
        while self.state is RunState.RUNNING:
            passes.append(self._pass())
            if not passes[-1].did_something:
                break
        self.passes = tuple(passes)
        if self.state is RunState.RUNNING:
            for instance in self._gate.admit():
                self._start_try(instance)
            self._decisions += self._gate.leases.take_decisions()
            self._ask_to_be_woken()
        decisions, self._decisions = self._decisions, []
        return decisions

    def _pass(self) -> PassReport:
        report = Pass(self._board, self._now).run()
        if report.end is not None:
            self._end(*report.end)
        for instance in report.ready:
            is_new_try = instance.state is not TaskState.UP_FOR_RESCHEDULE
            if instance.task.is_empty:
                instance.try_number += 1
                self._board.set_state(instance, TaskState.SUCCESS)
                report.changed[instance.key] = TaskState.SUCCESS
            else:
                self._schedule(instance, is_new_try=is_new_try)
        return report

    def _schedule(self, instance: TaskInstance, *, is_new_try: bool) -> None:
        if is_new_try:
            instance.try_number += 1
            instance.reschedules = 0
        is_running = self.state is RunState.RUNNING
        if is_new_try and instance.task.starts_deferred and is_running:
            self._leave(instance, TaskState.DEFERRED)
            self._park(instance)
            return
        self._leave(instance, TaskState.SCHEDULED)
        self._gate.push(instance)

    def _start_try(self, instance: TaskInstance) -> None:
        instance.has_try = True
        self._board.set_state(instance, TaskState.RUNNING)
        self._decisions.append(
            StartTask(
                task_id=instance.task.task_id,
                map_index=instance.map_index,
                try_number=instance.try_number,
                max_tries=instance.task.retries,
                reschedules=instance.reschedules,
            )
        )

    def _note_change(self, instance: TaskInstance, old: TaskState | None) -> None:
        self._gate.moved(instance, old)
        is_left = instance.has_try and instance.state is not TaskState.RUNNING
        if is_left or instance.is_parked:
            self._stop_try(instance)

    def _stop_try(self, instance: TaskInstance) -> None:
        instance.has_try = instance.is_parked = False
        self._decisions.append(
            StopTask(
                task_id=instance.task.task_id,
                map_index=instance.map_index,
                try_number=instance.try_number,
            )
        )

    def _ask_to_be_woken(self) -> None:
        """Name the next moment at which time alone changes something, unless an earlier call is still due."""
        times = [
            i.due + JUST_AFTER_S if i.state is TaskState.UP_FOR_RETRY else i.due
            for i in self._board.waiting
            if not i.is_parked
        ]
        if self._times_out_at is not None:
            times.append(self._times_out_at + JUST_AFTER_S)
        earliest = self._alarm.set(times, self._now)
        if earliest is not None:
            self._decisions.append(WaitUntil(earliest))

    def _time_out(self) -> None:
        termination.time_out(self._board.instances(), self._board.set_state)
        self._end(RunState.FAILED, "timed_out")

    def _end(self, state: RunState, reason: str) -> None:
        if self._is_cancelled:
            state, reason = RunState.FAILED, "cancelled"
        self.state = state
        for instance in sorted(self._board.in_hand, key=lambda i: i.key):
            if instance.has_try:
                self._stop_try(instance)
        self._decisions.append(FinishRun(state, reason))
