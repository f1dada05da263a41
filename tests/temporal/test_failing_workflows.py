"""A workflow whose tasks keep failing, as after an upgrade that cannot replay it, is named with what to do."""

import pytest
from temporalio import workflow
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from appliance.temporal.failing_workflows import failing_workflows
from appliance.temporal.health import PartHealth
from tests.temporal.servers import serving

WELL = PartHealth(ok=True)
SOON = "system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute=2"


@workflow.defn(name="AirflowDag")
class Changed:
    """One whose code is not what it began with."""

    @workflow.run
    async def run(self) -> None:
        raise RuntimeError("[TMPRL1100] Nondeterminism error: no such timer\nmore")


@pytest.mark.needs_server
async def test_a_workflow_that_fails_again_and_again_is_named_with_why_and_what_to_do() -> (
    None
):
    async with serving(SOON) as client:
        assert await failing_workflows(client, "q") == WELL
        async with Worker(
            client,
            task_queue="q",
            workflows=[Changed],
            workflow_runner=UnsandboxedWorkflowRunner(),
        ):
            await client.start_workflow(
                "AirflowDag", id="airflow-dag-d@q", task_queue="q"
            )
            while (found := await failing_workflows(client, "q")) == WELL:
                pass
            others = await failing_workflows(client, "q2")

    assert found is not None
    assert found.why.startswith(
        "the tasks of airflow-dag-d@q ([TMPRL1100] Nondeterminism error: no such timer) fail again"
    )
    assert "start that one again" in found.why
    assert others == WELL
