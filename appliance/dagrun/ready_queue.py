"""The queue of scheduled task instances: limits of the run, and order by priority.

Only limits within one run are known here. A task's ``max_active_tis_per_dag`` is kept within the run as well; what is
lent from outside the run, ``leases`` asks for.

Source: Airflow 3.3: ``SchedulerJobRunner._executable_task_instances_to_queued`` (order: priority weight, then
map index; Airflow leaves ties to the database, here the task id breaks them).
"""

import heapq
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter

from appliance.dagrun.events import PoolsScarce, SlotsAwaited, SlotsGranted
from appliance.dagrun.plan import Plan, TaskSpec, WeightRule
from appliance.dagrun.pool_requests import PoolRequests
from appliance.dagrun.states import PARKED, TaskState
from appliance.dagrun.task_instances import TaskInstance

_Key = tuple[int, int, str]
"""Negative weight, map index, task id."""

_MAX_TIS_PER_QUERY = 16
"""Airflow's default, ``[scheduler] max_tis_per_query``."""

_HOLDS_TASK_SLOT = PARKED | {TaskState.RUNNING}


@dataclass(slots=True)
class ReadyQueue:
    """The queue of one run."""

    plan: Plan
    leases: PoolRequests = field(init=False)
    weights: Mapping[str, int] = field(init=False)
    running: int = 0
    """Instances that hold a slot of the run; parked ones do not."""
    active: Counter[str] = field(default_factory=Counter)
    """Instances of each task that hold a slot of the task; parked ones do."""
    queue: list[tuple[_Key, TaskInstance]] = field(default_factory=list)
    held: dict[str, list[tuple[_Key, TaskInstance]]] = field(default_factory=dict)
    """Task id -> instances its own limit holds back."""
    crowd: list[_Key] = field(default_factory=list)
    """Those of ``held`` that are still scheduled, sorted."""

    def __post_init__(self) -> None:
        self.leases = PoolRequests(self.plan.lent)
        self.weights = total_weights(self.plan)

    def push(self, instance: TaskInstance) -> None:
        """Queue an instance that has just been scheduled."""
        heapq.heappush(self.queue, (self._key(instance), instance))

    def refill(self, in_hand: Iterable[TaskInstance]) -> None:
        """Queue the scheduled ones of a run that is taken up again."""
        for instance in in_hand:
            if instance.state is TaskState.SCHEDULED:
                self.push(instance)

    def moved(self, instance: TaskInstance, old: TaskState | None) -> None:
        """Count slots when an instance has left state ``old``."""
        new = instance.state
        self.leases.moved(instance, old)
        if old is TaskState.SCHEDULED:
            self._leave_crowd(self._key(instance))
        self.running += (new is TaskState.RUNNING) - (old is TaskState.RUNNING)
        change = (new in _HOLDS_TASK_SLOT) - (old in _HOLDS_TASK_SLOT)
        if change:
            self.active[instance.task.task_id] += change
        has_gone = old is TaskState.SCHEDULED and new is not TaskState.RUNNING
        if change < 0 or has_gone:
            self._release(instance.task)

    def admit(self) -> Iterator[TaskInstance]:
        """Yield what starts now, best first; the caller sets each one running before it asks for the next."""
        most = self.plan.max_active_tasks
        for entry in self.leases.unpark(most - self.running):
            heapq.heappush(self.queue, entry)
        while self.queue and self.running + len(self.leases.unanswered) < most:
            entry = heapq.heappop(self.queue)
            instance = entry[1]
            limit = instance.task.active_limit
            if instance.state is not TaskState.SCHEDULED:
                self._release(instance.task)
            elif self._is_crowded_out(entry[0]):
                heapq.heappush(self.queue, entry)
                break
            elif limit is None or self._is_within(limit, entry):
                if self.leases.lacks(instance):
                    self.leases.ask(entry, most - self.running)
                else:
                    yield instance
            else:
                self.leases.refuse(instance.key)
                held = self.held.setdefault(instance.task.task_id, [])
                heapq.heappush(held, entry)
                insort(self.crowd, entry[0])
        if self.running >= most:
            self.leases.return_unused()

    def hear(self, event: SlotsGranted | SlotsAwaited) -> None:
        """Take in that an instance has the slots it needs from outside the run, or has to wait for them."""
        key = (event.task_id, event.map_index)
        if isinstance(event, SlotsAwaited):
            self.leases.wait(key)
        elif entry := self.leases.grant(key):
            heapq.heappush(self.queue, entry)

    def widen(self, more: PoolsScarce, in_hand: Iterable[TaskInstance]) -> Plan:
        """Take in that more tasks need slots from outside the run; return the plan that says so."""
        self.plan = replace(self.plan, lent=more.lent, exempt=more.exempt)
        running = [i for i in in_hand if i.state is TaskState.RUNNING]
        again = self.leases.widen(more.lent, [(self._key(i), i) for i in running])
        for entry in again:
            heapq.heappush(self.queue, entry)
        return self.plan

    def _is_within(self, limit: int, entry: tuple[_Key, TaskInstance]) -> bool:
        """Tell whether an instance keeps to its task's own limit, once those ahead of it have begun."""
        return self.active[entry[0][2]] + self.leases.ahead(entry) < limit

    def _is_crowded_out(self, key: _Key) -> bool:
        """Tell whether those held back by their tasks' limits keep this one from being looked at.

        Airflow looks at the best ``max_active_tasks`` scheduled instances of a run only, startable or not. It looks
        further when none of them could start, but only if they were as many as it ever looks at in one go.
        """
        most = self.plan.max_active_tasks
        if most >= _MAX_TIS_PER_QUERY or most > len(self.crowd):
            return False
        return self.crowd[most - 1] < key

    def _release(self, task: TaskSpec) -> None:
        if held := self.held.get(task.task_id):
            entry = heapq.heappop(held)
            self._leave_crowd(entry[0])
            heapq.heappush(self.queue, entry)

    def _leave_crowd(self, key: _Key) -> None:
        at = bisect_left(self.crowd, key)
        if self.crowd[at : at + 1] == [key]:
            del self.crowd[at]

    def _key(self, instance: TaskInstance) -> _Key:
        task_id = instance.task.task_id
        return -self.weights[task_id], instance.map_index, task_id


def total_weights(plan: Plan) -> Mapping[str, int]:
    """Return the priority weight of every task, with those its weight rule adds, or its own strategy's."""
    bits = {task_id: 1 << i for i, task_id in enumerate(plan.tasks)}
    down = {task_id: task.down for task_id, task in plan.tasks.items()}
    lowest_first = list(TopologicalSorter(down).static_order())
    below = dict(bits)
    for task_id in lowest_first:
        for other in down[task_id]:
            below[task_id] |= below[other]
    above = dict(bits)
    for task_id in reversed(lowest_first):
        for other in down[task_id]:
            above[other] |= above[task_id]
    members: dict[int, int] = {}
    for task in plan.tasks.values():
        weight = task.priority_weight
        members[weight] = members.get(weight, 0) | bits[task.task_id]
    counted = {
        WeightRule.DOWNSTREAM: below,
        WeightRule.UPSTREAM: above,
        WeightRule.ABSOLUTE: bits,
    }
    return {
        task_id: sum(
            weight * (counted[task.weight_rule][task_id] & mask).bit_count()
            for weight, mask in members.items()
        )
        if task.total_weight is None
        else task.total_weight
        for task_id, task in plan.tasks.items()
    }
