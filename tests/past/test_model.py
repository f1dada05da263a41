"""What a task depends on in earlier runs, case by case as Airflow has it."""

import pytest

from appliance.past.model import PastTask, States, is_met

DATE = "2026-01-02T00:00:00+00:00"


@pytest.mark.parametrize(
    ("task", "previous", "expected"),
    [
        (PastTask("a"), {"a": ["success"]}, True),
        (PastTask("a"), {"a": ["skipped"]}, True),
        (PastTask("a"), {"a": ["success", "failed"]}, False),
        (PastTask("a"), {"a": [None]}, False),
        (PastTask("a"), {"a": ["upstream_failed"]}, False),
        (PastTask("a"), {"b": ["success"]}, False),
        (PastTask("a", ignores_first=True), {"b": ["success"]}, True),
        (PastTask("a", down=("b",)), {"a": ["success"], "b": ["running"]}, False),
        (PastTask("a", down=("b",)), {"a": ["success"], "b": ["skipped"]}, True),
        (PastTask("a", down=("b",)), {"a": ["success"]}, True),
        (PastTask("a", start="2026-01-03"), {}, True),
        (PastTask("a", start="2026-01-01"), {}, False),
    ],
)
def test_the_past_is_met(task: PastTask, previous: States, expected: object) -> None:
    assert is_met(task, DATE, previous, [previous]) is expected


def test_a_task_that_ran_before_the_previous_run_is_not_its_first() -> None:
    task = PastTask("a", ignores_first=True)

    assert not is_met(task, DATE, {}, [{}, {"a": ["success"]}])
