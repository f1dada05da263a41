"""What ends task instances before their time: ``fail_fast``, the timeout of the run, a cancel.

Each function changes states through ``set_state``, which tells the machine what has to be stopped.
"""

from collections.abc import Callable, Iterable

from appliance.dagrun.states import FINISHED, UNDER_WAY, TaskState
from appliance.dagrun.task_instances import TaskInstance

_SetState = Callable[[TaskInstance, TaskState], None]

_RAN_TO_ITS_END = frozenset((TaskState.SUCCESS, TaskState.FAILED))


def fail_fast(others: Iterable[TaskInstance], set_state: _SetState) -> None:
    """End every other task, whatever has become of it, unless it ran to its end or is a teardown."""
    for other in list(others):
        if other.task.is_teardown:
            continue
        if other.state is TaskState.RUNNING:
            set_state(other, TaskState.FAILED)
        elif other.state not in _RAN_TO_ITS_END:
            set_state(other, TaskState.SKIPPED)


def time_out(instances: Iterable[TaskInstance], set_state: _SetState) -> None:
    """Skip all that is unfinished, teardowns too."""
    for instance in list(instances):
        if instance.state not in FINISHED:
            set_state(instance, TaskState.SKIPPED)


def mark_failed(instances: Iterable[TaskInstance], set_state: _SetState) -> None:
    """Fail what is under way and skip the rest; teardowns are left to do their work.

    Source: Airflow 3.3: ``airflow/api/common/mark_tasks.py: _set_dag_run_terminal_state``.
    """
    for instance in list(instances):
        if instance.task.is_teardown or instance.state in FINISHED:
            continue
        is_under_way = instance.state in UNDER_WAY
        set_state(instance, TaskState.FAILED if is_under_way else TaskState.SKIPPED)


def unbegun(instance: TaskInstance, set_state: _SetState) -> None:
    """Skip an instance that was stopped while it waited for its turn: Airflow calls that queued, not running."""
    if instance.state is TaskState.FAILED:
        set_state(instance, TaskState.SKIPPED)
