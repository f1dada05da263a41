"""A run whose DAG cannot be told of its end has ended as it has."""

import pytest
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from appliance.temporal import messages
from appliance.temporal.messages import Closing, DagAnswer, DagQuestion
from appliance.temporal.worker.clerk import Clerk
from appliance.temporal.worker.registry import Registry
from appliance.temporal.workflows.dag import AirflowDag
from appliance.temporal.workflows.run import ExecuteAirflowDagWorkflow
from tests.temporal.servers import serving

pytestmark = [pytest.mark.needs_server, pytest.mark.timeout(60)]


@activity.defn(name=messages.READ_DAG)
async def read_dag(question: DagQuestion) -> DagAnswer:
    plan = {"dag_id": question.dag_id, "tasks": {"only": {"empty": True}}}
    return DagAnswer(dag_id=question.dag_id, file="d.py", plan=plan)


class Deaf(Registry):
    async def close(self, closing: Closing) -> None:
        raise ApplicationError(f"{closing.dag_id} hears nothing", non_retryable=True)


async def test_a_run_that_nobody_hears_of_succeeds() -> None:
    async with serving() as client:
        clerk = Clerk(client, Deaf(client, "q"), lambda _: True)
        async with Worker(
            client,
            task_queue="q",
            workflows=[ExecuteAirflowDagWorkflow, AirflowDag],
            activities=[read_dag, *clerk.activities],
        ):
            result = await client.execute_workflow(
                messages.WORKFLOW, {"dag_id": "d"}, id="dag-d-1", task_queue="q"
            )

    assert result["state"] == "success"
