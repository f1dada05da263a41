"""The task instances of one run and the counts kept over them.

Trigger rules read a snapshot: what had ended when the current pass began (``TaskInstance.seen``, ``TaskNode.seen``).
Everything else reads live states. ``TaskInstances.set_state`` is the only way a state changes, so that the counts, the
tasks to look at again and the observer never fall behind.
"""

from collections import Counter
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field

from appliance.dagrun import expansion
from appliance.dagrun.expansion import GroupPosition
from appliance.dagrun.graph import Graph, TaskLinks, common_groups
from appliance.dagrun.plan import TaskSpec
from appliance.dagrun.rules import TriggerRule, Verdict
from appliance.dagrun.states import FINISHED, PARKED, SCHEDULABLE, TaskState

WAITS = frozenset((TaskState.UP_FOR_RETRY, TaskState.UP_FOR_RESCHEDULE))
"""States that end by the clock."""

IN_HAND = frozenset((TaskState.SCHEDULED, TaskState.RUNNING))
"""States whose dependencies were met."""

_FAILED = frozenset((TaskState.FAILED, TaskState.UPSTREAM_FAILED))

NEVER = 1e18
"""A time that does not come; unlike infinity it can be written as JSON."""

InstanceKey = tuple[str, int]
"""Task id and map index, -1 for unmapped."""


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """One task instance as it stands."""

    task_id: str
    map_index: int
    state: TaskState | None
    try_number: int
    reschedules: int = 0
    losses: int = 0
    due: float | None = None
    """When it may run again, while it waits for that."""


@dataclass(slots=True, eq=False)
class TaskInstance:
    """One task instance."""

    task: TaskSpec
    map_index: int
    state: TaskState | None = None
    seen: TaskState | None = None
    """The state it had ended in when the current pass began."""
    try_number: int = 0
    reschedules: int = 0
    """How often the current try has been rescheduled."""
    losses: int = 0
    """How many tries vanished with their worker."""
    due: float = 0.0
    """Not to be run again before this."""
    has_try: bool = False
    """Whether a try has been started that nobody has reported or stopped."""
    is_parked: bool = False
    """Whether a try waits outside the machine, and nobody has resumed, ended or stopped it."""

    @property
    def key(self) -> InstanceKey:
        """What instances are visited in the order of."""
        return self.task.task_id, self.map_index

    def may_resume(self, *, has_begun: bool) -> bool:
        """Whether its try goes on when it is told so: it is parked, or is under way and has not begun."""
        return self.is_parked or (self.has_try and not has_begun)

    @property
    def facts(self) -> InstanceFacts:
        """A copy for others to keep."""
        return InstanceFacts(
            task_id=self.task.task_id,
            map_index=self.map_index,
            state=self.state,
            try_number=self.try_number,
            reschedules=self.reschedules,
            losses=self.losses,
            due=self.due if self.state in WAITS else None,
        )


@dataclass(slots=True, eq=False)
class UpstreamCounts:
    """The direct upstreams of one task, or of several that have the same ones."""

    tasks: int
    is_expanded: bool
    """Whether one of them is mapped or in a mapped group."""
    rows: int = 0
    """How many instances they have."""
    seen: Counter[TaskState] = field(default_factory=Counter)
    """Snapshot of those that have ended, by state."""
    verdicts: dict[TriggerRule, Verdict] = field(default_factory=dict)
    """What trigger rules say of all this, as long as nothing changes."""

    @property
    def expected(self) -> int:
        """How many instances a trigger rule waits for; where none is mapped, a task counts as one."""
        return self.rows if self.is_expanded else self.tasks

    def add_rows(self, change: int) -> None:
        """Take in that they have more instances, or fewer."""
        self.rows += change
        self.verdicts.clear()


@dataclass(slots=True, eq=False)
class TaskNode:
    """One task with its instances."""

    links: TaskLinks
    above: UpstreamCounts
    below: list[UpstreamCounts] = field(default_factory=list)
    """Whose upstream this task is."""
    instances: dict[int, TaskInstance] = field(default_factory=dict)
    seen: Counter[TaskState] = field(default_factory=Counter)
    """Snapshot of its finished instances, by state."""
    unfinished: int = 0
    return_length: int | None = None
    pushed: set[int] = field(default_factory=set)
    """Map indexes that returned something."""
    skip_verdicts: dict[int, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    """Map index -> what a branch decided: ("followed" | "skipped", task ids)."""

    @property
    def task(self) -> TaskSpec:
        """The task."""
        return self.links.task


@dataclass(slots=True)
class TaskInstances:
    """All instances of a run."""

    graph: Graph
    observer: Callable[[TaskInstance, TaskState | None], None]
    """Told of every change of state, with the old one."""
    absent: frozenset[str] = frozenset()
    """Tasks this run has no instances of."""
    nodes: dict[str, TaskNode] = field(init=False)
    unfinished: int = 0
    in_hand: dict[TaskInstance, None] = field(default_factory=dict)
    waiting: dict[TaskInstance, None] = field(default_factory=dict)
    dirty: dict[str, set[int] | None] = field(default_factory=dict)
    """Task id -> map indexes to look at in the next pass; None for all of them."""
    read_live: dict[str, None] = field(default_factory=dict)
    """Tasks that look at live states or lengths which have changed."""
    deadlock_exempt: int = 0
    """Unfinished instances in whose presence Airflow looks for no deadlock, as it does with parked ones."""
    parked: int = 0
    awaits_past: set[str] = field(default_factory=set)
    """Tasks that depend on an earlier run which has not come so far."""
    has_skip_verdicts: bool = False
    has_removed: bool = False
    _changed: dict[TaskInstance, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._make_nodes()
        for node in self.nodes.values():
            for index in self._first_indexes(node.task):
                self._add(node, index)
            for above in node.below:
                above.add_rows(len(node.instances))
            self.dirty[node.task.task_id] = None
            if node.task.depends_on_past:
                self.awaits_past.add(node.task.task_id)

    def _make_nodes(self) -> None:
        shared: dict[tuple[str, ...], UpstreamCounts] = {}
        self.nodes = {}
        for task_id, links in self.graph.links.items():
            above = shared.setdefault(
                links.up,
                UpstreamCounts(len(links.up), is_expanded=links.upstream_expands),
            )
            self.nodes[task_id] = TaskNode(links, above)
        for ups, above in shared.items():
            for up in ups:
                self.nodes[up].below.append(above)

    @property
    def is_past_awaited(self) -> bool:
        """Whether an unfinished task waits for an earlier run."""
        return any(self.nodes[task_id].unfinished for task_id in self.awaits_past)

    def meet_past(self, task_ids: Iterable[str]) -> None:
        """Take in that what these tasks depend on in earlier runs has come."""
        for task_id in task_ids:
            self.awaits_past.discard(task_id)
            self.dirty[task_id] = None

    def instances(self) -> list[TaskInstance]:
        """Return all instances there are now."""
        nodes = self.nodes.values()
        return [instance for node in nodes for instance in node.instances.values()]

    def has_failed_leaf(self, but: Container[TaskInstance]) -> bool:
        """Tell whether one of the tasks that decide how the run ends has failed, some instances left aside."""
        leaves = (self.nodes[leaf].instances.values() for leaf in self.graph.leaves)
        failed = (i for leaf in leaves for i in leaf if i.state in _FAILED)
        return any(instance not in but for instance in failed)

    def _first_indexes(self, task: TaskSpec) -> Iterable[int]:
        if task.task_id in self.absent:
            return ()
        count = self.count(task) if task.expands else None
        return range(count) if count else (-1,)

    def find(self, key: InstanceKey) -> TaskInstance | None:
        """Return the instance of this key, if there is one."""
        node = self.nodes.get(key[0])
        return node.instances.get(key[1]) if node else None

    def count(self, task: TaskSpec) -> int | None:
        """Return how many instances a mapped or grouped task expands to, if that is known."""
        own = 1
        if task.maps is not None:
            known = expansion.product(task.maps, self._length_of)
            if known is None:
                return None
            own = known
        around = self.group_count(task.groups)
        return None if around is None else own * around

    def group_count(self, groups: tuple[str, ...]) -> int | None:
        """Return how often the innermost of these nested mapped groups is expanded."""
        total = 1
        for group in groups:
            sources = self.graph.plan.groups[group]
            known = expansion.product(sources, self._length_of)
            if known is None:
                return None
            total *= known
        return total

    def _length_of(self, task_id: str) -> int | None:
        node = self.nodes[task_id]
        if node.task.maps is None:
            return node.return_length
        return None if node.unfinished else len(node.pushed)

    def set_state(self, instance: TaskInstance, state: TaskState | None) -> None:
        """Change a state and everything that is counted by it."""
        old = instance.state
        if old is state:
            return
        instance.state = state
        node = self.nodes[instance.task.task_id]
        has_ended, had_ended = state in FINISHED, old in FINISHED
        if has_ended is not had_ended:
            change = -1 if has_ended else 1
            self.unfinished += change
            node.unfinished += change
            self.deadlock_exempt += change * node.links.is_deadlock_exempt
        self.parked += (state in PARKED) - (old in PARKED)
        _keep(self.in_hand, instance, member=state in IN_HAND)
        _keep(self.waiting, instance, member=state in WAITS)
        self.observer(instance, old)
        if has_ended or had_ended:
            self._changed[instance] = None
            self.has_removed |= state is TaskState.REMOVED
            self._mark_affected(node, instance, old)
            self.read_live.update(dict.fromkeys(node.links.readers))
        if state in SCHEDULABLE:
            self.mark(instance)

    def record_verdict(
        self, instance: TaskInstance, verdict: tuple[str, tuple[str, ...]]
    ) -> None:
        """Keep what a branch or short circuit has decided."""
        node = self.nodes[instance.task.task_id]
        node.skip_verdicts[instance.map_index] = verdict
        self.has_skip_verdicts = True

    def mark(self, instance: TaskInstance) -> None:
        """Look at one instance in the next pass."""
        self._mark(instance.task.task_id, (instance.map_index,))

    def _mark(self, task_id: str, indexes: tuple[int, ...]) -> None:
        marked = self.dirty.setdefault(task_id, set())
        if marked is not None:
            marked.update(indexes)

    def _mark_affected(
        self, node: TaskNode, instance: TaskInstance, old: TaskState | None
    ) -> None:
        has_just_ended = instance.map_index >= 0 and old not in FINISHED
        state = instance.state if has_just_ended and not self.has_removed else None
        for other, early in node.links.early.items():
            indexes = self._dependents(node, instance, self.nodes[other].task)
            if indexes is not None and state in FINISHED:
                self._mark(other, (*indexes, -1))
            elif state not in FINISHED or state in early or not node.unfinished:
                self.dirty[other] = None

    def _dependents(
        self, node: TaskNode, instance: TaskInstance, lower: TaskSpec
    ) -> Iterable[int] | None:
        """Return the map indexes of a task to which this instance is relevant; None for all."""
        common = common_groups(node.task, lower)
        count = self.count(lower) if common else None
        if not count:
            return None
        place = GroupPosition(instance.map_index, count, self.group_count(common) or 1)
        further = node.task.is_mapped_within(common)
        return expansion.dependent_indexes(place, is_mapped_further=further)

    def take_snapshot(self) -> None:
        """Make everything that has happened visible to trigger rules."""
        for instance in self._changed:
            ended = instance.state in FINISHED
            old, new = instance.seen, instance.state if ended else None
            if old is new:
                continue
            instance.seen = new
            node = self.nodes[instance.task.task_id]
            for above in node.below:
                above.verdicts.clear()
            for counts in (node.seen, *(above.seen for above in node.below)):
                if old is not None:
                    counts[old] -= 1
                if new is not None:
                    counts[new] += 1
        self._changed.clear()

    def expand(self, instance: TaskInstance, count: int) -> list[TaskInstance]:
        """Turn an unexpanded instance into ``count`` ones; it becomes the first, and the others are returned."""
        node = self.nodes[instance.task.task_id]
        del node.instances[instance.map_index]
        instance.map_index = 0
        node.instances[0] = instance
        new = [self._add(node, index) for index in range(1, count)]
        for above in node.below:
            above.add_rows(count - 1)
        for other in node.links.affects:
            self.dirty[other] = None
            self.read_live[other] = None  # the number of rows is read live, too
        return new

    def replace(self, node: TaskNode, indexes: list[int]) -> None:
        """Give a task to which nothing has happened instances of these map indexes, all of them new."""
        gone = len(node.instances)
        self.unfinished -= gone
        node.unfinished -= gone
        self.deadlock_exempt -= gone * node.links.is_deadlock_exempt
        for above in node.below:
            above.add_rows(len(indexes) - gone)
        node.instances.clear()
        for index in indexes:
            self._add(node, index)

    def _add(self, node: TaskNode, map_index: int) -> TaskInstance:
        instance = node.instances[map_index] = TaskInstance(node.task, map_index)
        self.unfinished += 1
        node.unfinished += 1
        self.deadlock_exempt += node.links.is_deadlock_exempt
        return instance


def _keep(
    group: dict[TaskInstance, None], instance: TaskInstance, *, member: bool
) -> None:
    if member:
        group[instance] = None
    else:
        group.pop(instance, None)
