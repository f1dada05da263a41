"""Drives the machine with an oracle script and returns a trace of the oracle's shape.

What a task does on the worker's side (which tasks a branch skips, that a value to be mapped over must be a
list) is mirrored here from the Task SDK, as in ``oracle.py``.
"""

import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from appliance.dagrun.events import (
    Decision,
    Event,
    StartTask,
    TimeReached,
    TryEnded,
    TryResumed,
)
from appliance.dagrun.graph import Graph
from appliance.dagrun.machine import JUST_AFTER_S, DagRun
from appliance.dagrun.passes import PassReport
from appliance.dagrun.plan import Plan
from appliance.dagrun.states import RunState, TaskState
from appliance.dagrun.task_instances import InstanceKey, TaskInstance, TaskInstances
from tests.parity.specs import MAX_MAP_LENGTH

Action = Mapping[str, Any]
Script = Mapping[str, Sequence[Action]]
Trace = dict[str, Any]

LOGICAL_DATE = "2026-01-01T00:00:00+00:00"
NO_LIMIT = 1 << 30
MOST_INSTANCES = 120
"""Airflow's own scheduler takes too long over more."""


class TooLargeError(ValueError):
    """The run has more task instances than are worth comparing."""


_STATES = {
    "success": TaskState.SUCCESS,
    "branch": TaskState.SUCCESS,
    "short_circuit": TaskState.SUCCESS,
    "skip": TaskState.SKIPPED,
    "remove": TaskState.REMOVED,
    "reschedule": TaskState.UP_FOR_RESCHEDULE,
    "defer": TaskState.DEFERRED,
}


def simulate(
    plan: Plan, script: Script, *, batch: bool = True, limits: bool = False
) -> Trace:
    """Play a whole run.

    Args:
        plan: The DAG.
        script: What the executions of each task do, in the oracle's format.
        batch: Whether ends due at one instant are reported together.
        limits: Whether ``max_active_tasks`` holds.

    Raises:
        TooLargeError: It has more task instances than are worth it.
    """
    if not limits:
        plan = replace(plan, max_active_tasks=NO_LIMIT)
    return _Simulation(ObservedRun(plan), script, batch=batch, limits=limits).drive()


def label(key: InstanceKey) -> str:
    """Write an instance the way traces name it."""
    task_id, map_index = key
    return task_id if map_index < 0 else f"{task_id}[{map_index}]"


class _SmallBoard(TaskInstances):
    """A board that is given up before it fills the memory."""

    __slots__ = ()

    def expand(self, instance: TaskInstance, count: int) -> list[TaskInstance]:
        if count > MOST_INSTANCES:
            raise TooLargeError(f"a task of {count} instances")
        return super().expand(instance, count)


class ObservedRun(DagRun):
    """A run that notes what each reported end of a try has changed."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan, logical_date=LOGICAL_DATE)
        self._board.__class__ = _SmallBoard
        self.noted: list[Trace] = []

    def states(self) -> dict[str, TaskState | None]:
        return {label((t, i)): state for t, i, state, _ in self.rows()}

    def changes_since(
        self, before: Mapping[str, TaskState | None]
    ) -> dict[str, TaskState | None]:
        return {k: v for k, v in self.states().items() if before[k] is not v}

    def _end_try(self, instance: TaskInstance, event: TryEnded) -> None:
        before = self.states()
        super()._end_try(instance, event)
        name = label(instance.key)
        note: Trace = {"ev": "finish", "ti": name, "state": instance.state}
        if instance.state is TaskState.UP_FOR_RETRY:
            note["retry_in"] = instance.due - self._now
        others = self.changes_since(before)
        others.pop(name, None)
        if others:
            note["set"] = others
        self.noted.append(note)

    def _time_out(self) -> None:
        before = self.states()
        super()._time_out()
        self.noted.append(
            {"ev": "pass", "ready": [], "set": self.changes_since(before)}
        )


@dataclass
class _Simulation:
    run: ObservedRun
    script: Script
    batch: bool
    limits: bool
    now: float = 0.0
    events: list[Trace] = field(default_factory=list)
    heap: list[tuple[float, int, Event]] = field(default_factory=list)
    pushed: int = 0
    attempts: Counter[str] = field(default_factory=Counter)
    actions: dict[str, Action] = field(default_factory=dict)
    graph: Graph = field(init=False)

    def __post_init__(self) -> None:
        self.graph = Graph(self.run.plan)

    def drive(self) -> Trace:
        timeout_s = self.run.plan.dagrun_timeout_s
        if timeout_s is not None:
            self._at(timeout_s + JUST_AFTER_S, TimeReached())
        self._record(self.run.start(self.now))
        while self.heap and self.run.state is RunState.RUNNING:
            due = self._due()
            self._record(self.run.receive(due, self.now))
        rows = self.run.rows()
        return {
            "events": self.events,
            "tis": {label((t, i)): state for t, i, state, _ in rows},
            "tries": {label((t, i)): tries for t, i, _, tries in rows},
            "dag_run": self.run.state,
            "stalled": self.run.state is RunState.RUNNING,
        }

    def _at(self, when: float, event: Event) -> None:
        self.pushed += 1
        heapq.heappush(self.heap, (round(when, 6), self.pushed, event))

    def _due(self) -> list[Event]:
        self.now, _, event = heapq.heappop(self.heap)
        due = [event]
        while self.batch and self.heap and self.heap[0][0] == self.now:
            due.append(heapq.heappop(self.heap)[2])
        return due

    def _record(self, decisions: list[Decision]) -> None:
        if sum(self.run.counts().values()) > MOST_INSTANCES:
            raise TooLargeError(f"more than {MOST_INSTANCES} task instances")
        for note in self.run.noted:
            self._write(note)
            if note["ev"] == "finish":
                self._come_back(note)
        self.run.noted.clear()
        for report in self.run.passes:
            if report.did_something:
                self._write(_describe(report))
        if self.run.state is not RunState.RUNNING:
            self._write({"ev": "dag_run", "state": self.run.state})
        self._start([d for d in decisions if isinstance(d, StartTask)])

    def _write(self, event: Trace) -> None:
        self.events.append({"t": self.now, **event})

    def _come_back(self, finish: Trace) -> None:
        """Put on the clock what brings an instance back."""
        name = finish["ti"]
        delay_s = self.actions[name].get("delay", 10.0)
        match finish["state"]:
            case TaskState.UP_FOR_RETRY:
                wait_s = finish["retry_in"] + JUST_AFTER_S
                self._at(self.now + wait_s, TimeReached())
            case TaskState.UP_FOR_RESCHEDULE:
                self._at(self.now + delay_s, TimeReached())
            case TaskState.DEFERRED:
                task_id, _, index = name.removesuffix("]").partition("[")
                resumed = TryResumed(task_id, int(index or -1))
                self._at(self.now + delay_s, resumed)
            case _:
                pass

    def _start(self, starts: list[StartTask]) -> None:
        if not starts:
            return
        if not self.limits:  # the oracle starts by name then
            starts.sort(key=lambda start: (start.task_id, start.map_index))
        tries = []
        for start in starts:
            name = label((start.task_id, start.map_index))
            tries.append((name, start.try_number))
            action = self._action(name, start.task_id)
            self.actions[name] = action
            end = self.now + action.get("dur", 1.0)
            self._at(end, self._end(start, action, end))
        self._write({"ev": "start", "tries": tries})

    def _action(self, name: str, task_id: str) -> Action:
        self.attempts[name] += 1
        actions = self.script.get(name) or self.script.get(task_id) or [{}]
        return actions[min(self.attempts[name], len(actions)) - 1]

    def _end(self, start: StartTask, action: Action, end: float) -> TryEnded:
        """Turn an action into what the worker would report."""
        do = action.get("do", "success")
        skip, verdict = self._decide(start.task_id, do, action)
        ended = TryEnded(
            task_id=start.task_id,
            map_index=start.map_index,
            try_number=start.try_number,
            state=_STATES.get(do, TaskState.FAILED),
            retry_delay_s=action.get("retry_delay"),
            reschedule_at=end + action.get("delay", 10.0),
            skip_verdict=verdict,
        )
        if skip and start.map_index < 0:
            ended = replace(ended, skipped=tuple((task_id, -1) for task_id in skip))
        elif ended.state is TaskState.SUCCESS:
            ended = self._return(ended, action.get("value"))
        if do == "fail" or (do != "fail_now" and ended.state is TaskState.FAILED):
            is_retried = start.max_tries and start.try_number <= start.max_tries
            state = TaskState.UP_FOR_RETRY if is_retried else TaskState.FAILED
            ended = replace(ended, state=state)
        return ended

    def _return(self, ended: TryEnded, value: Any) -> TryEnded:
        task = self.run.plan.tasks[ended.task_id]
        if task.maps is not None or not self.run.feeds_mapping(ended.task_id):
            return replace(ended, returned=value is not None)
        if not isinstance(value, list | dict) or len(value) > MAX_MAP_LENGTH:
            return replace(ended, state=TaskState.FAILED)
        return replace(ended, returned=True, return_length=len(value))

    def _decide(
        self, task_id: str, do: str, action: Action
    ) -> tuple[list[str], tuple[str, tuple[str, ...]] | None]:
        """Return whom a branch or short circuit skips, and the verdict it leaves behind."""
        down = list(self.graph.links[task_id].down)
        if not down:
            return [], None
        if do == "branch":
            follow = set(action.get("follow") or ())
            for chosen in sorted(follow):
                follow |= self.graph.closure(chosen, upstream=False)
            kept = tuple(d for d in down if d in follow)
            return [d for d in down if d not in follow], ("followed", kept)
        if do == "short_circuit" and not action.get("value"):
            if not action.get("direct"):
                down = sorted(self.graph.closure(task_id, upstream=False))
            skip = [d for d in down if not self.run.plan.tasks[d].is_teardown]
            return skip, ("skipped", tuple(skip)) if skip else None
        return [], None


def _describe(report: PassReport) -> Trace:
    changes: dict[str, str] = {label(k): v for k, v in report.changed.items()}
    return {
        "ev": "pass",
        "ready": [label(instance.key) for instance in report.ready],
        "set": {**changes, **dict.fromkeys(report.expanded, "expanded")},
    }
