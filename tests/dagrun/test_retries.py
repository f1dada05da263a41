"""Retry delays; all values were read off Airflow 3.3.2 (``TaskInstance.next_retry_datetime``)."""

import pytest

from appliance.dagrun.plan import TaskSpec
from appliance.dagrun.retries import hash_date, retry_delay_s

# (retry delay, factor, longest delay, failed try, Airflow's delay)
CASES = [
    (60, 2, None, 1, 92),
    (60, 2, None, 2, 213),
    (60, 2, None, 3, 391),
    (60, 1.5, None, 4, 255),
    (60, 2, 100, 3, 100),
    (0, 2, None, 1, 1),
    (0.3, 3, None, 2, 1),
    (60, 0, None, 5, 60),
    (60, 1, None, 5, 60),
    (300, 2, None, 30, 86400),
    (60, 2, None, 2000, 86400),
    (100000, 0, 10, 1, 100000),
]


@pytest.mark.parametrize(("base", "factor", "longest", "tried", "expected"), CASES)
def test_the_delay_is_airflows(
    base: float, factor: float, longest: float | None, tried: int, expected: float
) -> None:
    task = TaskSpec("t", retry_delay_s=base, backoff=factor, max_retry_delay_s=longest)

    delay = retry_delay_s(
        task,
        dag_id="retry",
        logical_date=hash_date("2026-01-01T00:00:00Z"),
        try_number=tried,
    )

    assert delay == expected


def test_a_run_without_logical_date_has_a_jitter_of_its_own() -> None:
    task = TaskSpec("t", retry_delay_s=60, backoff=2)

    delay = retry_delay_s(task, dag_id="retry", logical_date=None, try_number=1)

    assert delay == 70


def test_the_configured_longest_delay_bounds_growing_ones_only() -> None:
    growing = TaskSpec("t", retry_delay_s=60, backoff=2)
    constant = TaskSpec("t", retry_delay_s=60)

    delays = [
        retry_delay_s(
            task,
            dag_id="retry",
            logical_date=None,
            try_number=9,
            max_task_retry_delay_s=50,
        )
        for task in (growing, constant)
    ]

    assert delays == [50, 60]


def test_the_date_is_hashed_as_airflow_prints_it() -> None:
    assert hash_date("2026-01-01T02:00:00+02:00") == "2026-01-01 00:00:00+00:00"
    assert (
        hash_date("2026-01-01 00:00:00.5+00:00") == "2026-01-01 00:00:00.500000+00:00"
    )
    assert hash_date(None) is None
