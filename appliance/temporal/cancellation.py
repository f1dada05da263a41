"""Cancels a workflow, and says when there is none to cancel."""

from typing import Any

from temporalio.client import WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from appliance.errors import DagError


async def cancel(handle: WorkflowHandle[Any, Any], *, otherwise: str) -> None:
    """Ask a workflow to end.

    Raises:
        DagError: it has ended, or there is none; says ``otherwise``.
    """
    nothing = DagError(otherwise)
    try:
        if (await handle.describe()).status != WorkflowExecutionStatus.RUNNING:
            raise nothing
        await handle.cancel()
    except RPCError as err:
        raise (nothing if err.status == RPCStatusCode.NOT_FOUND else err) from err
