"""The delay before a failed try is run again, to the second as in Airflow.

The jitter is a hash of who tries, not a random number, so every replay waits as long as the first time.

Source: Airflow 3.3: ``TaskInstance.next_retry_datetime``.
"""

import hashlib
import math
from datetime import UTC, datetime

from appliance.dagrun.plan import TaskSpec

MAX_TASK_RETRY_DELAY_S = 24 * 60 * 60.0
"""Default of Airflow's ``[core] max_task_retry_delay``."""


def retry_delay_s(
    task: TaskSpec,
    *,
    dag_id: str,
    logical_date: str | None,
    try_number: int,
    max_task_retry_delay_s: float = MAX_TASK_RETRY_DELAY_S,
) -> float:
    """Return how long to wait after the end of try ``try_number``.

    All instances of a mapped task share the jitter: the hash leaves out the map index.

    Args:
        task: The task that failed.
        dag_id: Its DAG.
        logical_date: Of the run, as ``hash_date`` writes it.
        try_number: The try that has just failed, from 1.
        max_task_retry_delay_s: Bound of every growing delay; a constant one is not bounded.
    """
    if task.backoff in (0, 1) or task.backoff < 0:
        return task.retry_delay_s
    base = _base(task, try_number, max_task_retry_delay_s)
    text = f"{dag_id}#{task.task_id}#{logical_date}#{try_number}"
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    delay = float(min(base + int(digest, 16) % base, max_task_retry_delay_s))
    return min(task.max_retry_delay_s, delay) if task.max_retry_delay_s else delay


def _base(task: TaskSpec, try_number: int, longest_s: float) -> int:
    try:
        grown = math.ceil(task.retry_delay_s * task.backoff ** (try_number - 1))
    except OverflowError:
        grown = int(longest_s)
    return max(1, grown)


def hash_date(logical_date: str | None) -> str | None:
    """Write an ISO 8601 date with a zone the way it enters the hash: ``2026-01-01 00:00:00+00:00``."""
    if logical_date is None:
        return None
    return str(datetime.fromisoformat(logical_date).astimezone(UTC))
