"""A run whose DAG cannot be told of its end has ended as it has."""

import pytest
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from appliance.active_runs.activities import ActiveRunsActivities
from appliance.active_runs.client import ActiveRunsClient
from appliance.active_runs.messages import RunEnd
from appliance.active_runs.workflow import AirflowDag
from appliance.runs.messages import DagQuestion
from appliance.runs.workflow import ExecuteAirflowDagWorkflow
from appliance.temporal import messages
from appliance.temporal.messages import DagAnswer
from appliance.worker.entity_recovery import EntityRecovery
from appliance.worker_questions.messages import READ_DAG
from tests.temporal.servers import serving

pytestmark = [pytest.mark.needs_server, pytest.mark.timeout(60)]


@activity.defn(name=READ_DAG)
async def read_dag(question: DagQuestion) -> DagAnswer:
    plan = {"dag_id": question.dag_id, "tasks": {"only": {"empty": True}}}
    return DagAnswer(dag_id=question.dag_id, file="d.py", plan=plan)


class Deaf(ActiveRunsClient):
    async def close(self, closing: RunEnd) -> None:
        raise ApplicationError(f"{closing.dag_id} hears nothing", non_retryable=True)


async def test_a_run_that_nobody_hears_of_succeeds() -> None:
    async with serving() as client:
        clerk = ActiveRunsActivities(Deaf(client, "q"), lambda _: True)
        async with Worker(
            client,
            task_queue="q",
            workflows=[ExecuteAirflowDagWorkflow, AirflowDag],
            activities=[read_dag, *clerk.activities, EntityRecovery(client).rebuild],
        ):
            result = await client.execute_workflow(
                messages.WORKFLOW, {"dag_id": "d"}, id="dag-d-1", task_queue="q"
            )

    assert result["state"] == "success"
