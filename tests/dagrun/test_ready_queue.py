"""Who of the scheduled may start is who Airflow's scheduler would queue, at a cost that grows with their number."""

import sys
from collections import Counter
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.dagrun.plan import Plan
from appliance.dagrun.ready_queue import ReadyQueue
from appliance.dagrun.states import TaskState
from appliance.dagrun.task_instances import TaskInstance

Key = tuple[int, int, str]

MAX_TIS_PER_QUERY = 16


class Queue:
    """A gate, and beside it lists that are searched the way Airflow queries its database."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.gate = ReadyQueue(plan)
        self.scheduled: dict[Key, TaskInstance] = {}
        self.running: dict[Key, TaskInstance] = {}

    def schedule(self, instance: TaskInstance) -> None:
        self._move(instance, TaskState.SCHEDULED)
        self.gate.push(instance)
        self.scheduled[self._key(instance)] = instance

    def leave(self, key: Key, state: TaskState) -> TaskInstance:
        """Take an instance out of the queue, or end its try."""
        instance = (self.scheduled if key in self.scheduled else self.running).pop(key)
        self._move(instance, state)
        return instance

    def admit(self) -> list[Key]:
        started = []
        for instance in self.gate.admit():
            self._move(instance, TaskState.RUNNING)
            started.append(self._key(instance))
        return started

    def queued_by_airflow(self) -> list[Key]:
        """Let the scheduler's loop turn until it queues nothing more; take who starts out of the lists."""
        started: list[Key] = []
        while found := self._one_turn():
            started += found
            for key in found:
                self.running[key] = self.scheduled.pop(key)
        return started

    def _one_turn(self) -> list[Key]:
        room = self.plan.max_active_tasks - len(self.running)
        active = Counter(task_id for _, _, task_id in self.running)
        starved: set[str] = set()
        found: list[Key] = []
        while room:
            rows = sorted(key for key in self.scheduled if key[2] not in starved)
            rows = rows[: min(self.plan.max_active_tasks, MAX_TIS_PER_QUERY)]
            for key in rows[:]:
                limit = self.plan.tasks[key[2]].active_limit
                if len(found) == room:
                    break
                if limit is not None and active[key[2]] >= limit:
                    starved.add(key[2])
                else:
                    active[key[2]] += 1
                    found.append(key)
            if found or len(rows) < MAX_TIS_PER_QUERY:
                break
        return found

    def _key(self, instance: TaskInstance) -> Key:
        task = instance.task
        return -task.priority_weight, instance.map_index, task.task_id

    def _move(self, instance: TaskInstance, state: TaskState) -> None:
        old, instance.state = instance.state, state
        self.gate.moved(instance, old)


def queue_of(tasks: dict[str, dict[str, Any]], *, max_active_tasks: int) -> Queue:
    rows = {t: {"weight": "absolute", **row} for t, row in tasks.items()}
    data = {"dag_id": "d", "tasks": rows, "max_active_tasks": max_active_tasks}
    return Queue(Plan.from_json(data))


LIMITED = st.fixed_dictionaries(
    {"prio": st.integers(1, 3), "max_run": st.integers(1, 3)}
)
FREE = st.fixed_dictionaries({"prio": st.integers(1, 3)})


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_who_starts_is_who_airflow_queues(data: st.DataObject) -> None:
    tasks = {name: data.draw(LIMITED) for name in "abc"} | {"f": data.draw(FREE)}
    most = data.draw(st.sampled_from([1, 2, 4, 15, 16, 17]))
    queue = queue_of(tasks, max_active_tasks=most)
    indexes = Counter[str]()
    for _ in range(data.draw(st.integers(1, 6))):
        for name in data.draw(st.lists(st.sampled_from("abcf"), max_size=3)):
            for _ in range(data.draw(st.sampled_from([1, most, most + 2]))):
                queue.schedule(TaskInstance(queue.plan.tasks[name], indexes[name]))
                indexes[name] += 1
        there = sorted({**queue.scheduled, **queue.running})
        if there:
            gone = st.lists(st.sampled_from(there), unique=True, max_size=5)
            for key in data.draw(gone):
                is_retried = key in queue.running and data.draw(st.booleans())
                state = TaskState.UP_FOR_RETRY if is_retried else TaskState.SKIPPED
                instance = queue.leave(key, state)
                if is_retried:
                    queue.schedule(instance)

        started = queue.admit()

        assert started == queue.queued_by_airflow()


@pytest.mark.parametrize("max_active_tasks", [8, 64])
@pytest.mark.parametrize("per_task", [20, None])
def test_the_work_grows_with_the_number_of_instances(
    max_active_tasks: int, per_task: int | None
) -> None:
    def work(count: int) -> int:
        """Count the lines run for a run of so many instances, held back by one task or by many."""
        each = per_task or count
        names = [f"t{n}" for n in range(count // each)]
        tasks = {name: {"max_run": 1} for name in names}
        queue = queue_of(tasks, max_active_tasks=max_active_tasks)
        for name in names:
            spec = queue.plan.tasks[name]
            for index in range(each):
                queue.schedule(TaskInstance(spec, index))
        with _Lines() as lines:
            while started := queue.admit():
                for key in started:
                    queue.running[key] = queue.scheduled.pop(key)
                    queue.leave(key, TaskState.SUCCESS)
        assert not queue.scheduled
        return lines.count

    assert work(1600) < 3 * work(800)


class _Lines:
    """Counts the lines of Python that are run: what a thing costs, on any machine."""

    def __enter__(self) -> "_Lines":
        self.count = 0
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _trace(self, _frame: FrameType, event: str, _arg: object) -> Any:
        self.count += event == "line"
        return self._trace
