"""``Plan``, what the scheduler needs to know of a DAG: about 90 bytes of JSON per task.

``Plan`` is projected from Airflow's serialized DAG by ``appliance.dagfile.plan_builder``, pinned in the run's
history, and read again by every replay: a key may be added with a default, never renamed. Defaults are left
out of the JSON; keys this version does not know are ignored.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from graphlib import CycleError, TopologicalSorter
from typing import Any

from appliance.dagrun.expansion import MapSource, read_source, references, write_source
from appliance.dagrun.rules import TriggerRule

DEFAULT_POOL = "default_pool"


class WeightRule(StrEnum):
    """Whose priority weights count towards a task's own."""

    DOWNSTREAM = "downstream"
    UPSTREAM = "upstream"
    ABSOLUTE = "absolute"


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One task."""

    task_id: str
    rule: TriggerRule = TriggerRule.ALL_SUCCESS
    is_setup: bool = False
    is_teardown: bool = False
    fails_dagrun: bool = False
    """Whether a failed teardown fails the run."""
    retries: int = 0
    retry_delay_s: float = 300.0
    backoff: float = 0.0
    """Factor by which the retry delay grows from try to try; 0 and 1 keep it constant."""
    max_retry_delay_s: float | None = None
    depends_on_past: bool = False
    wait_for_downstream: bool = False
    """Whether it depends on what came after it in the past, too."""
    ignore_first_depends_on_past: bool = False
    """Whether a past without this task is no hindrance."""
    can_skip_downstream: bool = False
    """Whether this is a branch or a short circuit."""
    is_empty: bool = False
    """Whether it succeeds without being run."""
    max_active_tis_per_dag: int | None = None
    max_active_tis_per_dagrun: int | None = None
    priority_weight: int = 1
    weight_rule: WeightRule = WeightRule.DOWNSTREAM
    total_weight: int | None = None
    """What a strategy of the user's own weighs it, whatever its rule."""
    pool: str = DEFAULT_POOL
    pool_slots: int = 1
    queue: str = "default"
    execution_timeout_s: float | None = None
    starts_deferred: bool = False
    """Whether it waits for its trigger without having been run."""
    trigger_timeout_s: float | None = None
    """How long it waits then."""
    has_on_failure_callback: bool = False
    has_on_retry_callback: bool = False
    starts_at: float | None = None
    """Runs with an earlier logical date leave it out, as seconds since the epoch; None for the DAG's own."""
    ends_at: float | None = None
    """The same for a later one."""
    down: tuple[str, ...] = ()
    """Ids of the direct downstream tasks, sorted."""
    maps: tuple[MapSource, ...] | None = None
    """What a mapped task expands over; its length is the product of these."""
    groups: tuple[str, ...] = ()
    """Mapped task groups around it, outermost first."""

    @property
    def expands(self) -> bool:
        """Whether it has one instance a map index instead of a single one."""
        return self.maps is not None or bool(self.groups)

    def is_mapped_within(self, groups: tuple[str, ...]) -> bool:
        """Whether it is mapped again inside the innermost of these mapped groups, which are around it."""
        return self.maps is not None or self.groups[-1] != groups[-1]

    @property
    def active_limit(self) -> int | None:
        """How many of its instances may be active at once; None for any number."""
        limits = (self.max_active_tis_per_dag, self.max_active_tis_per_dagrun)
        return min((n for n in limits if n is not None), default=None)


@dataclass(frozen=True, slots=True)
class Plan:
    """One DAG. Construction refuses unknown ids and cycles.

    Raises:
        ValueError: A task names a task or group that does not exist, or the tasks form a cycle.
    """

    dag_id: str
    tasks: Mapping[str, TaskSpec] = field(default_factory=dict)
    """Task id -> task, in the order of the DAG file."""
    groups: Mapping[str, tuple[MapSource, ...]] = field(default_factory=dict)
    """Mapped task group id -> what it expands over."""
    fail_fast: bool = False
    max_active_tasks: int = 16
    dagrun_timeout_s: float | None = None
    has_on_success_callback: bool = False
    has_on_failure_callback: bool = False
    starts_at: float | None = None
    ends_at: float | None = None
    listeners: tuple[str, ...] = ()
    """Hooks of DAG runs, ``on_dag_run_running`` and the like, that a listener of a plugin has."""
    lent: Mapping[str, str] = field(default_factory=dict)
    """Task id -> what it needs slots of that are lent from outside the run; not part of the JSON."""
    exempt: frozenset[str] = frozenset()
    """Tasks that run without a slot of their pool for as long as it has one for everything; not part of the JSON."""

    def __post_init__(self) -> None:
        for user, kind, name in self._names():
            if name not in (self.groups if kind == "group" else self.tasks):
                raise ValueError(
                    f'DAG "{self.dag_id}": {user} refers to {kind} "{name}", '
                    "which does not exist"
                )
        upstreams: dict[str, set[str]] = {t: set() for t in self.tasks}
        for task in self.tasks.values():
            for down in task.down:
                upstreams[down].add(task.task_id)
            upstreams[task.task_id] |= self.sources_of(task)
        try:
            TopologicalSorter(upstreams).prepare()
        except CycleError as err:
            cycle = " -> ".join(err.args[1])
            raise ValueError(f'DAG "{self.dag_id}": a cycle of tasks: {cycle}') from err

    def _names(self) -> Iterator[tuple[str, str, str]]:
        """Yield every reference as (user, task or group, id)."""
        for task in self.tasks.values():
            user = f'task "{task.task_id}"'
            yield from ((user, "task", name) for name in task.down)
            yield from ((user, "task", name) for name in references(task.maps or ()))
            yield from ((user, "group", name) for name in task.groups)
        for group, maps in self.groups.items():
            for name in references(maps):
                yield f'task group "{group}"', "task", name

    def sources_of(self, task: TaskSpec) -> frozenset[str]:
        """Return the tasks whose return values decide how often ``task`` is expanded."""
        own = references(task.maps or ())
        return own.union(*(references(self.groups[g]) for g in task.groups))

    def left_out(
        self, logical_date: str | None, *, is_backfill: bool = False
    ) -> frozenset[str]:
        """Return the tasks whose dates exclude a run; to a backfill start dates do not matter.

        Args:
            logical_date: ISO 8601 with a zone; a run without one has all tasks.
            is_backfill: Whether the run is part of a backfill.
        """
        if logical_date is None:
            return frozenset()
        date = datetime.fromisoformat(logical_date).timestamp()
        found = set()
        for task_id, task in self.tasks.items():
            start = self.starts_at if task.starts_at is None else task.starts_at
            end = self.ends_at if task.ends_at is None else task.ends_at
            is_early = not is_backfill and start is not None and date < start
            if is_early or (end is not None and end < date):
                found.add(task_id)
        return frozenset(found)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Plan":
        """Read what ``to_json`` or the projection of a DAG file wrote."""
        callbacks: Any = {name: bool(data.get(name)) for name in _CALLBACKS}
        return cls(
            dag_id=data["dag_id"],
            tasks={t: _read_task(t, row) for t, row in data["tasks"].items()},
            groups={
                name: tuple(read_source(s) for s in group["map"])
                for name, group in data.get("groups", {}).items()
            },
            fail_fast=data.get("fail_fast", False),
            max_active_tasks=data.get("max_active_tasks", 16),
            dagrun_timeout_s=data.get("dagrun_timeout"),
            **callbacks,
            listeners=tuple(data.get("listeners", ())),
            starts_at=data.get("start"),
            ends_at=data.get("end"),
        )

    def to_json(self) -> dict[str, Any]:
        """Write the plan as plain JSON values, defaults left out."""
        data: dict[str, Any] = {"dag_id": self.dag_id}
        if self.fail_fast:
            data["fail_fast"] = True
        data["max_active_tasks"] = self.max_active_tasks
        if self.dagrun_timeout_s is not None:
            data["dagrun_timeout"] = self.dagrun_timeout_s
        data |= {name: True for name in _CALLBACKS if getattr(self, name)}
        if self.listeners:
            data["listeners"] = list(self.listeners)
        if self.starts_at is not None:
            data["start"] = self.starts_at
        if self.ends_at is not None:
            data["end"] = self.ends_at
        data["tasks"] = {t: _write_task(task) for t, task in self.tasks.items()}
        if self.groups:
            data["groups"] = {
                name: {"map": [write_source(s) for s in maps]}
                for name, maps in self.groups.items()
            }
        return data


_CALLBACKS = ("has_on_success_callback", "has_on_failure_callback")

_FIELDS: Mapping[str, str] = {
    "rule": "rule",
    "setup": "is_setup",
    "teardown": "is_teardown",
    "fail_dagrun": "fails_dagrun",
    "retries": "retries",
    "delay": "retry_delay_s",
    "backoff": "backoff",
    "max_delay": "max_retry_delay_s",
    "past": "depends_on_past",
    "wait_down": "wait_for_downstream",
    "ignore_first": "ignore_first_depends_on_past",
    "skipmixin": "can_skip_downstream",
    "empty": "is_empty",
    "max_dag": "max_active_tis_per_dag",
    "max_run": "max_active_tis_per_dagrun",
    "prio": "priority_weight",
    "weight": "weight_rule",
    "total": "total_weight",
    "pool": "pool",
    "slots": "pool_slots",
    "queue": "queue",
    "timeout": "execution_timeout_s",
    "deferred": "starts_deferred",
    "trigger_timeout": "trigger_timeout_s",
    "on_failure": "has_on_failure_callback",
    "on_retry": "has_on_retry_callback",
    "start": "starts_at",
    "end": "ends_at",
    "down": "down",
    "map": "maps",
    "groups": "groups",
}
"""Key in the JSON of a task -> field of ``TaskSpec``."""

_READERS: Mapping[str, Any] = {
    "rule": TriggerRule,
    "weight": WeightRule,
    "backoff": float,
    "delay": float,
    "down": lambda ids: tuple(sorted(ids)),
    "groups": tuple,
    "map": lambda sources: tuple(read_source(s) for s in sources),
}


def _read_task(task_id: str, row: Mapping[str, Any]) -> TaskSpec:
    values: dict[str, Any] = {}
    for key, name in _FIELDS.items():
        if key in row:
            try:
                values[name] = _READERS.get(key, _unchanged)(row[key])
            except ValueError as err:
                raise ValueError(f'task "{task_id}": {key}: {err}') from err
    return TaskSpec(task_id=task_id, **values)


def _write_task(task: TaskSpec) -> dict[str, Any]:
    default = TaskSpec(task.task_id)
    row: dict[str, Any] = {}
    for key, name in _FIELDS.items():
        value = getattr(task, name)
        if value == getattr(default, name):
            continue
        if name == "maps":
            value = [write_source(s) for s in value]
        elif isinstance(value, tuple):
            value = list(value)
        row[key] = str(value) if isinstance(value, StrEnum) else value
    return row


def _unchanged(value: Any) -> Any:
    return value
