"""Plans and runs for tests, in a line."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from appliance.dagrun.events import (
    AskSlots,
    Decision,
    Event,
    FinishRun,
    HoldSlots,
    ReturnSlots,
    StartTask,
    StartWait,
    StopTask,
    TryEnded,
    WaitUntil,
)
from appliance.dagrun.machine import DagRun
from appliance.dagrun.plan import Plan
from appliance.dagrun.states import TaskState


def plan(chains: str, *, dag: dict[str, Any] | None = None, **rows: Any) -> Plan:
    """Build a plan: ``plan("a >> b >> c, a >> d", b={"rule": "all_done"})``."""
    tasks: dict[str, dict[str, Any]] = {}
    for chain in chains.split(","):
        ids = [task_id.strip() for task_id in chain.split(">>")]
        for task_id in ids:
            tasks.setdefault(task_id, {"down": []})
        for upper, lower in pairwise(ids):
            tasks[upper]["down"].append(lower)
    for task_id, row in rows.items():
        tasks[task_id].update(row)
    return Plan.from_json({"dag_id": "d", **(dag or {}), "tasks": tasks})


class Transcript:
    """A run that is written down: instances are ``task`` or ``task[index]``."""

    def __init__(self, plan: Plan, *, now: float = 0.0, **options: Any) -> None:
        self.run = DagRun(plan, logical_date="2026-01-01T00:00:00+00:00", **options)
        self.now = now
        self.said: list[str] = []
        self._hear(self.run.start(now))

    def receive(self, *events: Event, after_s: float = 1.0) -> list[str]:
        """Report what happened ``after_s`` later; return what the machine says."""
        self.now += after_s
        self.said = []
        self._hear(self.run.receive(events, self.now))
        return self.said

    def end(self, *ends: str, after_s: float = 1.0) -> list[str]:
        """Report ends of running tries, all at once: ``end("a success", "m[1] failed")``."""
        return self.receive(*(self.ended(end) for end in ends), after_s=after_s)

    def ended(self, end: str, **values: Any) -> TryEnded:
        """Build the report of a try's end."""
        name, state = end.split()
        task_id, map_index = key(name)
        facts = self.run.instance(task_id, map_index)
        assert facts is not None
        return TryEnded(
            task_id, map_index, facts.try_number, TaskState(state), **values
        )

    @property
    def states(self) -> str:
        """All states, as ``a=success m[0]=None``."""
        return " ".join(
            f"{name(task_id, i)}={state}" for task_id, i, state, _ in self.run.rows()
        )

    def _hear(self, decisions: Sequence[Decision]) -> None:
        self.said += [_say(decision) for decision in decisions]


def name(task_id: str, map_index: int) -> str:
    return task_id if map_index < 0 else f"{task_id}[{map_index}]"


def key(name: str) -> tuple[str, int]:
    task_id, _, index = name.removesuffix("]").partition("[")
    return task_id, int(index or -1)


def _say(decision: Decision) -> str:
    match decision:
        case StartTask(task_id, map_index, try_number):
            return f"start {name(task_id, map_index)} {try_number}"
        case StartWait(task_id, map_index, try_number):
            return f"await {name(task_id, map_index)} {try_number}"
        case StopTask(task_id, map_index, try_number):
            return f"stop {name(task_id, map_index)} {try_number}"
        case AskSlots() | HoldSlots() | ReturnSlots():
            return _say_slots(decision)
        case WaitUntil(at):
            return f"wait {at:.3f}"
        case FinishRun(state, reason):
            return f"finish {state} {reason}"


def _say_slots(decision: AskSlots | HoldSlots | ReturnSlots) -> str:
    who = name(decision.task_id, decision.map_index)
    if isinstance(decision, AskSlots):
        return f"ask {who} {decision.priority}"
    if isinstance(decision, HoldSlots):
        return f"hold {who}"
    return f"return {who}" + f" {decision.parked or ''}".rstrip()
