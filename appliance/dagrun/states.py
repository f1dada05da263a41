"""The states of task instances and DAG runs, in Airflow's spelling.

Source: Airflow 3.3: ``airflow/utils/state.py``. "No state yet" is ``None``, as in Airflow.
"""

from enum import StrEnum


class TaskState(StrEnum):
    """State of one task instance."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    RESTARTING = "restarting"
    FAILED = "failed"
    UP_FOR_RETRY = "up_for_retry"
    UP_FOR_RESCHEDULE = "up_for_reschedule"
    UPSTREAM_FAILED = "upstream_failed"
    SKIPPED = "skipped"
    DEFERRED = "deferred"
    REMOVED = "removed"
    AWAITING_INPUT = "awaiting_input"


class RunState(StrEnum):
    """State of one DAG run."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"


FINISHED = frozenset(
    (
        TaskState.SUCCESS,
        TaskState.FAILED,
        TaskState.SKIPPED,
        TaskState.UPSTREAM_FAILED,
        TaskState.REMOVED,
    )
)
"""States a task instance does not leave by itself."""

PARKED = frozenset((TaskState.DEFERRED, TaskState.AWAITING_INPUT))
"""States of a try that waits for something outside the run."""

SCHEDULABLE = frozenset((None, TaskState.UP_FOR_RETRY, TaskState.UP_FOR_RESCHEDULE))
"""States the scheduler looks at in every pass."""

UNDER_WAY = frozenset(
    (
        TaskState.RUNNING,
        TaskState.DEFERRED,
        TaskState.UP_FOR_RESCHEDULE,
        TaskState.AWAITING_INPUT,
    )
)
"""States of an instance a try of which has begun and not ended."""
