"""Finds workflows whose workflow tasks fail again and again.

The server marks a workflow whose tasks have failed five times in a row with the search attribute
``TemporalReportedProblems``. Source: Temporal server 1.32: ``system.numConsecutiveWorkflowTaskProblemsToTriggerSearchAttribute``.
"""

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryReverseRequest
from temporalio.client import Client
from temporalio.service import RPCError

from appliance.temporal.health import PartHealth
from appliance.temporal.visibility import quoted

_NAMED = 3
_EVENTS = 10
"""The last event but a few is the failure of its last task that was recorded."""


async def failing_workflows(client: Client, queue: str) -> PartHealth | None:
    """Say which open workflows of a task queue fail again and again, and what to do; None: the server does not know.

    Raises:
        RPCError: the server does not answer.
    """
    query = (
        f"ExecutionStatus = 'Running' AND TaskQueue = {quoted(queue)} "
        "AND TemporalReportedProblems IN ('category=WorkflowTaskFailed')"
    )
    try:
        failing = [one async for one in client.list_workflows(query, limit=_NAMED)]
    except RPCError:
        return None  # A server that has no such search attribute.
    if not failing:
        return PartHealth(ok=True)
    named = [f"{one.id} ({await _why(client, one.id, one.run_id)})" for one in failing]
    return PartHealth(
        ok=False,
        why=f"the tasks of {'; '.join(named)} fail again and again, so it waits. If it began under "
        "another version of the appliance, start that one again. What else helps: "
        "docs/OPERATIONS.md, section Upgrades",
    )


async def _why(client: Client, workflow_id: str, run_id: str) -> str:
    execution = WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
    found = await client.workflow_service.get_workflow_execution_history_reverse(
        GetWorkflowExecutionHistoryReverseRequest(
            namespace=client.namespace,
            execution=execution,
            maximum_page_size=_EVENTS,
        )
    )
    for event in found.history.events:
        failure = event.workflow_task_failed_event_attributes.failure
        if failure.message:
            return failure.message.splitlines()[0]
    return "its history does not say why"
