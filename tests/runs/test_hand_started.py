"""Runs that somebody starts in the Temporal UI: what is wrong with their input ends them, at once."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from temporalio import activity
from temporalio.client import Client, WorkflowFailureError

from appliance.runs.messages import DagQuestion
from appliance.temporal import messages
from appliance.temporal.messages import DagAnswer, utc
from appliance.worker_questions.messages import READ_DAG
from tests.temporal.servers import running_runs

pytestmark = [pytest.mark.needs_server, pytest.mark.timeout(60)]


@activity.defn(name=READ_DAG)
async def read_dag(question: DagQuestion) -> DagAnswer:
    plan = {"dag_id": question.dag_id, "tasks": {"only": {"empty": True}}}
    return DagAnswer(dag_id=question.dag_id, file="d.py", plan=plan)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client() -> AsyncIterator[Client]:
    async with running_runs(read_dag) as found:
        yield found


@pytest.mark.parametrize(
    "given",
    [
        [],
        ["my_dag"],
        [{"dag_id": 5}],
        [{}],
        [{"dag_id": "d", "conf": "x"}],
        [{"dag_id": "d", "logical_date": "tomorrow"}],
        [{"dag_id": "d", "dag": {"plan": {"tasks": {"a": {"down": ["b"]}}}}}],
    ],
    ids=str,
)
@pytest.mark.asyncio(loop_scope="module")
async def test_bad_input_ends_the_run(
    client: Client, given: list[Any], request: pytest.FixtureRequest
) -> None:
    with pytest.raises(WorkflowFailureError) as failed:
        await client.execute_workflow(
            messages.WORKFLOW, args=given, id=request.node.name, task_queue="q"
        )

    assert "Timeout" not in str(failed.value.cause)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_date_in_another_zone_is_kept_in_utc(client: Client) -> None:
    given = {"dag_id": "d", "logical_date": "2026-01-01T00:30:00+02:00"}

    result = await client.execute_workflow(
        messages.WORKFLOW, given, id="dated", task_queue="q"
    )

    assert result["run_id"] == "manual__2025-12-31T22:30:00+00:00"


def test_a_date_without_a_zone_is_in_utc() -> None:
    assert utc("2026-01-01") == "2026-01-01T00:00:00+00:00"
