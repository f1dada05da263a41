"""What the task runner is told first, against Airflow's own model of it and its retry rule."""

import pytest

from appliance.taskrun.startup import should_retry, startup_details
from tests.fakes.runs import NOON, a_try


@pytest.mark.parametrize(
    ("max_tries", "try_number", "retries"),
    [(0, 1, False), (1, 1, True), (1, 2, False), (3, 3, True), (3, 4, False)],
)
def test_retries_are_left(max_tries: int, try_number: int, retries: bool) -> None:
    task = a_try(max_tries=max_tries, try_number=try_number)

    assert should_retry(task) is retries


@pytest.mark.needs_airflow
def test_airflow_accepts_it() -> None:
    from airflow.sdk.execution_time.comms import StartupDetails

    task = a_try(map_index=3, own_keys=("return_value",), reschedules=2, max_tries=1)

    details = StartupDetails.model_validate(
        startup_details(task, conf={"day": 1}, start_date=NOON)
    )

    assert details.ti.map_index == 3
    assert details.ti_context.xcom_keys_to_clear == ["return_value"]
    assert details.ti_context.task_reschedule_count == 2
    assert details.ti_context.should_retry
    assert details.ti_context.dag_run.conf == {"day": 1}
    assert details.ti_context.dag_run.logical_date == details.start_date
