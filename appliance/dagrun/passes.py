"""One scheduler pass over the task instances that may have something to decide.

Effects spread level by level: rules read a snapshot taken when the pass begins, so a skip or a failure reaches
one level of tasks a pass, and which of two bad upstreams wins depends on when they ended, as in Airflow.
Only mapping sources, map lengths and row counts are read live; whoever reads one that changes is visited later
in the same pass if its turn has not come yet. Instances are visited in (task_id, map_index) order, new ones
from an expansion last.

Source: Airflow 3.3: ``DagRun.update_state``, ``DagRun._get_ready_tis``.
"""

import heapq
from collections import deque
from dataclasses import dataclass, field

from appliance.dagrun.dependencies import Dependencies, is_due
from appliance.dagrun.states import FINISHED, SCHEDULABLE, RunState, TaskState
from appliance.dagrun.task_instances import InstanceKey, TaskInstance, TaskInstances

_Visit = tuple[str, int, TaskInstance]
"""Whom to visit, after what instances are visited in the order of."""


@dataclass(slots=True)
class PassReport:
    """What one pass found and did."""

    ready: list[TaskInstance] = field(default_factory=list)
    """Instances that may run now, in the order they were found; empty operators included."""
    changed: dict[InstanceKey, TaskState] = field(default_factory=dict)
    """Instance -> state the scheduler itself set."""
    expanded: list[str] = field(default_factory=list)
    """Mapped tasks whose placeholder became real instances."""
    end: tuple[RunState, str] | None = None
    """How the run ends, and why, if this pass found that it does."""

    @property
    def did_something(self) -> bool:
        """Whether another pass may find more to do."""
        return bool(self.ready or self.changed or self.expanded)


@dataclass(slots=True)
class Pass:
    """One pass; used once."""

    board: TaskInstances
    now: float
    report: PassReport = field(default_factory=PassReport)
    _queue: list[_Visit] = field(default_factory=list)
    """The next one last."""
    _late: list[_Visit] = field(default_factory=list)
    """A heap of those found on the way."""
    _last: TaskInstance | None = None
    _expanded: deque[TaskInstance] = field(default_factory=deque)
    _added: set[TaskInstance] = field(default_factory=set)
    """Those there were not when the pass began."""
    _dependencies: Dependencies = field(init=False)

    def __post_init__(self) -> None:
        self._dependencies = Dependencies(self.board)

    def run(self) -> PassReport:
        """Decide everything that can be decided."""
        self.board.take_snapshot()
        unfinished = self.board.unfinished
        self._fill_queue()
        while self._queue or self._late:
            self._visit_next()
        while self._expanded:
            self._visit(self._expanded.popleft())
        self.report.end = self._find_end(unfinished)
        return self.report

    def _find_end(self, unfinished: int) -> tuple[RunState, str] | None:
        """Tell how the run ends, if it does; ``unfinished`` is how many instances were when the pass began.

        After an expansion Airflow counts again, but only those it knew before: if all of them have ended, so
        has the run, whatever becomes of the instances it has just added. (3.3.2 leaves them as they are.)
        """
        report, is_deadlocked = self.report, False
        if report.expanded:
            new = sum(instance.state not in FINISHED for instance in self._added)
            unfinished = self.board.unfinished - new
        elif not report.did_something and unfinished:
            is_deadlocked = self._is_deadlocked()
            if self._dependencies.has_changed_states:
                unfinished = self.board.unfinished
        if unfinished:
            return (RunState.FAILED, "all_tasks_deadlocked") if is_deadlocked else None
        if self.board.has_failed_leaf(self._added):
            return RunState.FAILED, "task_failure"
        return RunState.SUCCESS, "success"

    def _fill_queue(self) -> None:
        board = self.board
        for instance in board.waiting:
            if is_due(instance, self.now):
                board.mark(instance)
        board.read_live.clear()
        for task_id, indexes in board.dirty.items():
            instances = board.nodes[task_id].instances
            for index in instances if indexes is None else indexes & instances.keys():
                instance = instances[index]
                if instance.state in SCHEDULABLE:
                    self._queue.append((task_id, index, instance))
        board.dirty.clear()
        self._queue.sort(reverse=True)

    def _visit_next(self) -> None:
        queue, late = self._queue, self._late
        is_late = late and (not queue or late[0] < queue[-1])
        visit = heapq.heappop(late) if is_late else queue.pop()
        _, map_index, instance = visit
        has_been = instance is self._last or instance.map_index != map_index
        if has_been or instance.state not in SCHEDULABLE:
            return
        self._last = instance
        self._visit(instance)
        if self.board.read_live:
            self._visit_readers(visit)

    def _visit_readers(self, visit: _Visit) -> None:
        """See to it that whoever reads what has just changed is visited, if it comes later than this one."""
        for task_id in self.board.read_live:
            for index, other in self.board.nodes[task_id].instances.items():
                if (task_id, index) > visit[:2] and other.state in SCHEDULABLE:
                    heapq.heappush(self._late, (task_id, index, other))
        self.board.read_live.clear()

    def _visit(self, instance: TaskInstance) -> None:
        is_met = self._ask(instance, self.now)
        if is_met and instance.map_index < 0 and instance.task.expands:
            self._expand(instance)
        elif is_met and instance.state in SCHEDULABLE:
            self.report.ready.append(instance)

    def _ask(self, instance: TaskInstance, now: float | None) -> bool:
        old = instance.state
        is_met = self._dependencies.are_met(instance, now)
        if instance.state is not old and instance.state is not None:
            self.report.changed[instance.key] = instance.state
        return is_met

    def _expand(self, instance: TaskInstance) -> None:
        count = self.board.count(instance.task)
        if count:
            self.report.expanded.append(instance.task.task_id)
            self.report.changed.pop(instance.key, None)
            new = self.board.expand(instance, count)
            self._added.update(new)
            self._expanded += (instance, *new)
            return
        state = TaskState.UPSTREAM_FAILED if count is None else TaskState.SKIPPED
        self.board.set_state(instance, state)
        self.report.changed[instance.key] = state

    def _is_deadlocked(self) -> bool:
        """Tell whether nothing in hand or waiting could ever run.

        Airflow asks the dependencies of running instances here, too, which skips one that a branch has decided
        against since, and with it what is expanded over it. If a branch skipped the last one the run fails,
        although nothing is left to wait for: 3.3.2 does not count again after such a skip. Unlike Airflow, a run
        in which an instance with a limit of its own is blocked for good does end.
        """
        board = self.board
        if board.is_past_awaited or (board.in_hand and not board.has_skip_verdicts):
            return False
        if (board.deadlock_exempt or board.parked) and self._is_anything_coming():
            return False
        self._late = [(*i.key, i) for i in (*board.in_hand, *board.waiting)]
        heapq.heapify(self._late)
        self._last = None
        while self._late:
            visit = heapq.heappop(self._late)
            if visit[2] is not self._last and self._ask(visit[2], None):
                return False
            self._last = visit[2]
            self._visit_readers(visit)
        return True

    def _is_anything_coming(self) -> bool:
        if self.board.in_hand or self.board.parked:
            return True
        return any(not is_due(waiting, self.now) for waiting in self.board.waiting)
