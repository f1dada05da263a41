"""Whether earlier runs let a task run: ``depends_on_past`` and ``wait_for_downstream``. Pure.

Source: Airflow 3.3: ``ti_deps/deps/prev_dagrun_dep.py``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from appliance.dagrun.states import TaskState

_GOOD = (TaskState.SUCCESS, TaskState.SKIPPED)

States = Mapping[str, Sequence[str | None]]
"""The states of a run's task instances, by task id."""


@dataclass(frozen=True, slots=True)
class PastTask:
    """One task that depends on its past."""

    task_id: str
    down: tuple[str, ...] = ()
    """Its direct downstream tasks, if it waits for them, too."""
    ignores_first: bool = False
    start: str | None = None
    """With catch-up: a run with an earlier logical date knew no such task."""


def is_met(
    task: PastTask, date: str | None, previous: States, earlier: Iterable[States]
) -> bool:
    """Tell whether what a task depends on has come.

    Args:
        task: The task.
        date: The logical date of the run before this one.
        previous: That run.
        earlier: All earlier runs, that one included; looked at only when there is need to.
    """
    if task.start is not None and date is not None and date < task.start:
        return True
    own = previous.get(task.task_id)
    if not own:
        return task.ignores_first and not any(
            states.get(task.task_id) for states in earlier
        )
    below = [state for down in task.down for state in previous.get(down, ())]
    return all(state in _GOOD for state in (*own, *below))
