"""The task graph of a plan: upstreams, downstreams and groups, which never change during a run.

Source: Airflow 3.3: ``_shared/dagnode/node.py`` (relevant setups), ``trigger_rule_dep.py`` (teardown scope),
``models/dagrun.py`` (leaves).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from appliance.dagrun.expansion import references
from appliance.dagrun.plan import Plan, TaskSpec
from appliance.dagrun.rules import EARLY, TriggerRule
from appliance.dagrun.states import FINISHED, TaskState


@dataclass(slots=True)
class TaskLinks:
    """The surroundings of one task. Ids are sorted unless stated."""

    task: TaskSpec
    up: tuple[str, ...] = ()
    down: tuple[str, ...] = ()
    upstream_expands: bool = False
    """Whether a direct upstream is mapped or in a mapped group."""
    sources: frozenset[str] = frozenset()
    """Tasks whose return values decide how often this one is expanded."""
    own_sources: tuple[str, ...] = ()
    """Those of the task itself, or of the closest mapped group when it is not mapped."""
    readers: tuple[str, ...] = ()
    """Tasks that have this one among their sources."""
    skippers: tuple[str, ...] = ()
    """Direct upstreams that may skip this task: branches and short circuits."""
    setup_ups: tuple[str, ...] = ()
    """Direct upstreams that are setups."""
    is_deadlock_exempt: bool = False
    """Whether Airflow looks for no deadlock while an instance is unfinished."""
    indirect_setups: tuple[str, ...] = ()
    """Setups that must have succeeded although they are no direct upstreams."""
    scope: tuple[str, ...] = ()
    """What must have ended before this teardown runs: all between its setups and itself."""
    affects: tuple[str, ...] = ()
    """Tasks to look at again when any instance of this one changes."""
    early: Mapping[str, frozenset[TaskState]] = field(default_factory=dict)
    """Those of ``affects`` → ends of one instance of this task that may concern it before all have ended."""


@dataclass(slots=True)
class Graph:
    """All tasks of a plan, linked."""

    plan: Plan
    links: Mapping[str, TaskLinks] = field(init=False)
    leaves: tuple[str, ...] = field(init=False)
    """Tasks whose states decide how the run ends."""

    def __post_init__(self) -> None:
        self.links = {t: TaskLinks(task) for t, task in self.plan.tasks.items()}
        self._link_directly()
        self._link_setups()
        self._link_changes()
        self.leaves = self._find_leaves()

    def closure(self, task_id: str, *, upstream: bool) -> set[str]:
        """Return all tasks above (or below) a task, itself excluded."""
        seen: set[str] = set()
        todo = [task_id]
        while todo:
            here = self.links[todo.pop()]
            for other in here.up if upstream else here.down:
                if other not in seen:
                    seen.add(other)
                    todo.append(other)
        return seen

    def _link_directly(self) -> None:
        up: dict[str, list[str]] = {t: [] for t in self.links}
        readers: dict[str, list[str]] = {t: [] for t in self.links}
        for task_id, links in self.links.items():
            task = links.task
            links.is_deadlock_exempt = task.depends_on_past or bool(task.active_limit)
            links.down = links.task.down
            links.sources = self.plan.sources_of(links.task)
            links.own_sources = tuple(sorted(self._own_sources(links.task)))
            for down in links.down:
                up[down].append(task_id)
            for source in links.sources:
                readers[source].append(task_id)
        for task_id, links in self.links.items():
            links.up = tuple(sorted(up[task_id]))
            links.readers = tuple(sorted(readers[task_id]))
            above = [self.plan.tasks[u] for u in links.up]
            links.upstream_expands = any(u.expands for u in above)
            links.setup_ups = tuple(u.task_id for u in above if u.is_setup)
            links.skippers = tuple(u.task_id for u in above if u.can_skip_downstream)

    def _own_sources(self, task: TaskSpec) -> frozenset[str]:
        if task.maps is not None:
            return references(task.maps)
        if task.groups:
            return references(self.plan.groups[task.groups[-1]])
        return frozenset()

    def _link_setups(self) -> None:
        tasks = self.plan.tasks
        if not any(t.is_setup or t.is_teardown for t in tasks.values()):
            return
        for task_id, links in self.links.items():
            above = self.closure(task_id, upstream=True)
            if links.task.is_teardown:
                links.scope = self._scope(links, above)
            else:
                links.indirect_setups = self._indirect_setups(links, above)

    def _scope(self, links: TaskLinks, above: set[str]) -> tuple[str, ...]:
        between: set[str] = set()
        for setup in links.up:
            if self.plan.tasks[setup].is_setup:
                between |= self.closure(setup, upstream=False) & above
        return tuple(sorted(between.difference(links.up)))

    def _indirect_setups(self, links: TaskLinks, above: set[str]) -> tuple[str, ...]:
        """Find setups above that have no teardown, or one of whose teardowns is below."""
        tasks = self.plan.tasks
        below = self.closure(links.task.task_id, upstream=False)
        found = []
        for setup in sorted(above.difference(links.up)):
            teardowns = {d for d in tasks[setup].down if tasks[d].is_teardown}
            if tasks[setup].is_setup and (not teardowns or teardowns & below):
                found.append(setup)
        return tuple(found)

    def _link_changes(self) -> None:
        affects: dict[str, set[str]] = {t: set() for t in self.links}
        for task_id, links in self.links.items():
            for parts in (links.up, links.sources, links.indirect_setups, links.scope):
                for part in parts:
                    affects[part].add(task_id)
        for task_id, links in self.links.items():
            links.affects = tuple(sorted(affects[task_id]))
            links.early = {o: self._early(task_id, o) for o in links.affects}

    def _early(self, upper: str, lower: str) -> frozenset[TaskState]:
        links = self.links[lower]
        if upper in links.skippers:
            return FINISHED
        found: frozenset[TaskState] = frozenset()
        if upper in links.up:
            found |= EARLY[links.task.rule]
        if upper in links.indirect_setups:
            found |= EARLY[TriggerRule.ALL_SUCCESS]
        return found

    def _find_leaves(self) -> tuple[str, ...]:
        ignored = {
            t.task_id
            for t in self.plan.tasks.values()
            if t.is_teardown and not t.fails_dagrun
        }
        leaves = [
            task_id
            for task_id, links in self.links.items()
            if task_id not in ignored and ignored.issuperset(links.down)
        ]
        return tuple(leaves or (t for t, links in self.links.items() if not links.down))


def common_groups(upper: TaskSpec, lower: TaskSpec) -> tuple[str, ...]:
    """Return the mapped groups around both, outermost first."""
    shared = 0
    for one, other in zip(upper.groups, lower.groups, strict=False):
        if one != other:
            break
        shared += 1
    return lower.groups[:shared]
