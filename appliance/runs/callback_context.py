"""Picks the task instance that the callbacks of a DAG are called with. Pure.

Source: Airflow 3.3: ``DagRun.update_state``, ``SchedulerJobRunner._schedule_dag_run``.
"""

from collections.abc import Callable, Iterable

from appliance.dagrun.states import FINISHED, TaskState
from appliance.temporal.messages import TaskRow

TIMED_OUT = "timed_out"
DEADLOCKED = "all_tasks_deadlocked"


def subject(
    rows: Iterable[TaskRow],
    reason: str,
    *,
    upstreams_of: Callable[[str], Iterable[str]],
) -> TaskRow | None:
    """Return the task instance Airflow puts into the context of a DAG's callbacks, if any.

    Args:
        rows: Every instance of the run, at its end.
        reason: Why the run ended, in Airflow's word.
        upstreams_of: The ids of a task's direct upstreams.
    """
    rows = list(rows)
    if reason == DEADLOCKED:
        finished = {row.task_id for row in rows if row.state in FINISHED}
        for row in rows:
            if row.state not in FINISHED and not finished.isdisjoint(
                upstreams_of(row.task_id)
            ):
                return row
        return None
    if reason == TIMED_OUT:  # What had not ended was skipped just now.
        unended = [row for row in rows if row.state == TaskState.SKIPPED]
        return max(unended, key=lambda row: row.start_date or "", default=None)
    wanted = TaskState.SUCCESS if reason == "success" else TaskState.FAILED
    ended = [row for row in rows if row.state == wanted]
    return max(ended, key=lambda row: row.end_date or "", default=None)
