"""Drives the machine with an oracle script and returns a trace of the oracle's shape.

What a task does on the worker's side (which tasks a branch skips, that a value to be mapped over must be a
list) is mirrored here from the Task SDK, as in ``oracle.py``.
"""

import heapq
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from appliance.dagrun.events import (
    Event,
    StartTask,
    TimeReached,
    TryEnded,
    TryResumed,
)
from appliance.dagrun.instances import Instance, InstanceKey
from appliance.dagrun.machine import JUST_AFTER_S, DagRun
from appliance.dagrun.plan import Plan
from appliance.dagrun.states import RunState, TaskState

Action = Mapping[str, Any]
Script = Mapping[str, list[Action]]
LOGICAL_DATE = "2026-01-01T00:00:00+00:00"
NO_LIMIT = 1 << 30

_STATES = {
    "success": TaskState.SUCCESS,
    "branch": TaskState.SUCCESS,
    "short_circuit": TaskState.SUCCESS,
    "skip": TaskState.SKIPPED,
    "reschedule": TaskState.UP_FOR_RESCHEDULE,
    "defer": TaskState.DEFERRED,
}


def label(key: InstanceKey) -> str:
    """Write an instance the way traces name it."""
    task_id, map_index = key
    return task_id if map_index < 0 else f"{task_id}[{map_index}]"


class ObservedRun(DagRun):
    """A run that notes what each reported end of a try has changed."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan, logical_date=LOGICAL_DATE)
        self.finishes: list[dict[str, Any]] = []

    def states(self) -> dict[str, TaskState | None]:
        return {label((t, i)): state for t, i, state, _ in self.rows()}

    def _close_try(self, instance: Instance, event: TryEnded) -> None:
        super()._close_try(instance, event)
        finish = {"ev": "finish", "ti": label(instance.key), "state": instance.state}
        if instance.state is TaskState.UP_FOR_RETRY:
            finish["retry_in"] = round(instance.due - self._now, 4)
        self.finishes.append(finish)

    def _end_try(self, instance: Instance, event: TryEnded) -> None:
        before = self.states()
        super()._end_try(instance, event)
        after = self.states()
        del after[label(instance.key)]
        if others := {k: v for k, v in after.items() if before[k] != v}:
            self.finishes[-1]["set"] = others


@dataclass
class Simulation:
    """One run, from start to end."""

    run: ObservedRun
    script: Script
    batch: bool
    limits: bool
    now: float = 0.0
    events: list[dict[str, Any]] = field(default_factory=list)
    heap: list[tuple[float, int, Any]] = field(default_factory=list)
    attempts: Counter[str] = field(default_factory=Counter)

    def drive(self) -> dict[str, Any]:
        self._at(0.0, None)
        if self.run.plan.dagrun_timeout_s is not None:
            self._at(self.run.plan.dagrun_timeout_s + JUST_AFTER_S, TimeReached())
        while self.heap and self.run.state in (RunState.QUEUED, RunState.RUNNING):
            self._step(self._due())
        rows = self.run.rows()
        return {
            "events": self.events,
            "tis": {label((t, i)): state for t, i, state, _ in rows},
            "tries": {label((t, i)): tries for t, i, _, tries in rows},
            "dag_run": self.run.state,
            "stalled": self.run.state is RunState.RUNNING,
        }

    def _at(self, when: float, what: Event | None) -> None:
        heapq.heappush(self.heap, (round(when, 6), len(self.heap) + 0, what))

    def _due(self) -> list[Event]:
        raise NotImplementedError
