"""After a crash, reports the activities that the server still believes the previous worker is executing.

Those it had in hand are in its journals, along with the last that had ended: the server may not have heard of their
ends, and what ran must not run again under the same number. Those the server had handed out and it had not heard of yet
are found by asking the server; otherwise each would be missed only when its heartbeat has been due for a minute. Done
before the new worker takes anything, so that whatever the server says it has is gone.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from itertools import starmap

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionRequest
from temporalio.client import AsyncActivityHandle, Client
from temporalio.client import WorkflowExecution as Seen
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from appliance.runs import deferral_activities
from appliance.runs.activities import lost
from appliance.runs.attempt_journal import AttemptJournal
from appliance.runs.messages import ACTIVITY, REATTACH_ACTIVITY, TRIGGER_ACTIVITY
from appliance.temporal.connection import worker_of
from appliance.temporal.visibility import quoted
from appliance.temporal.waiting import not_yet

_LOG = logging.getLogger(__name__)
_WHY = "its worker was killed or restarted"
_AT_ONCE = 16
_PATIENCE_S = 10.0
"""What is not told by then is missed by its heartbeat."""
_TRIES = (ACTIVITY, REATTACH_ACTIVITY)


async def report(
    client: Client, queue: str, *, tries: AttemptJournal, waits: AttemptJournal
) -> None:
    """Tell the server what died with the last worker of this client's identity.

    Args:
        client: The server.
        queue: The task queue of the workflows.
        tries: What it had in hand, or had ended in its last moments.
        waits: The same of deferred waits.
    """
    lost_tries = {
        token: lost(_WHY, has_begun=begun) for token, begun in tries.left.items()
    }
    lost_waits = {token: deferral_activities.lost(_WHY) for token in waits.left}
    few = asyncio.Semaphore(_AT_ONCE)

    async def tell(token: bytes, error: ApplicationError) -> bool:
        async with few:
            return await _fail(
                client.get_async_activity_handle(task_token=token), error
            )

    try:
        async with asyncio.timeout(_PATIENCE_S):
            told = await asyncio.gather(*starmap(tell, lost_tries.items()))
            if any(told):
                _LOG.warning("%d tries were lost with the last worker", sum(told))
            await asyncio.gather(*starmap(tell, lost_waits.items()))
            await _report_unheard(client, queue, few)
    except (TimeoutError, RPCError) as err:
        reason = str(err) or "it took too long"
        _LOG.warning("what the last worker left is told by heartbeats: %s", reason)
    tries.clear_reported()
    waits.clear_reported()


async def _report_unheard(client: Client, queue: str, few: asyncio.Semaphore) -> None:
    query = f"TaskQueue = {quoted(queue)} AND ExecutionStatus = 'Running'"

    async def look(run: Seen) -> None:
        async with few:
            async for handle, error in _unheard(client, run):
                await _fail(handle, error)

    runs = [run async for run in client.list_workflows(query)]
    await asyncio.gather(*map(look, runs))


async def _unheard(
    client: Client, run: Seen
) -> AsyncIterator[tuple[AsyncActivityHandle, ApplicationError]]:
    """Yield the activities of a run that were handed to a worker of this name, and what became of them."""
    request = DescribeWorkflowExecutionRequest(
        namespace=client.namespace,
        execution=WorkflowExecution(workflow_id=run.id, run_id=run.run_id),
    )
    try:
        seen = await client.workflow_service.describe_workflow_execution(request)
    except RPCError:
        return  # It has ended meanwhile.
    for pending in seen.pending_activities:
        is_taken = pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
        is_ours = worker_of(pending.last_worker_identity)[0] == client.identity
        if is_taken and is_ours and (error := _error(pending)) is not None:
            yield (
                client.get_async_activity_handle(
                    workflow_id=run.id,
                    run_id=run.run_id,
                    activity_id=pending.activity_id,
                ),
                error,
            )


def _error(pending: PendingActivityInfo) -> ApplicationError | None:
    """Say what became of an activity; None when its workflow would take that for its end."""
    kind = pending.activity_type.name
    if kind in _TRIES:
        started = pending.last_started_time.ToNanoseconds()
        has_sent_word = pending.last_heartbeat_time.ToNanoseconds() > started
        is_reattached = kind == REATTACH_ACTIVITY
        return lost(_WHY, has_begun=is_reattached or has_sent_word)
    if kind == TRIGGER_ACTIVITY:
        return deferral_activities.lost(_WHY)
    return not_yet(_WHY) if pending.maximum_attempts == 0 else None


async def _fail(handle: AsyncActivityHandle, error: ApplicationError) -> bool:
    """Return whether the server did not know better: how it ended, that its run has, or that it was lost."""
    try:
        await handle.fail(error)
    except RPCError:
        return False
    return True
