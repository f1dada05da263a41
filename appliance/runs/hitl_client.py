"""Sends a person's answer to the run that waits for it."""

from temporalio.client import Client, WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from appliance.errors import DagError
from appliance.runs.messages import RESPOND_UPDATE, Response


async def respond(client: Client, workflow: str, response: Response) -> None:
    """Answer what a task of this run asks.

    Raises:
        DagError: it does not ask that, or the answer is none of those it takes.
    """
    handle = client.get_workflow_handle(workflow)
    try:
        await handle.execute_update(RESPOND_UPDATE, response)
    except WorkflowUpdateFailedError as err:
        why = err.cause
        text = why.message if isinstance(why, ApplicationError) else str(why)
        raise DagError(text) from err
    except RPCError as err:
        if err.status == RPCStatusCode.NOT_FOUND:
            raise DagError(f"{workflow} has ended already.") from err
        raise
