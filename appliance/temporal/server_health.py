"""Asks a Temporal server whether it serves, and which workers poll a task queue."""

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeTaskQueueRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError

from appliance.config.model import Config
from appliance.temporal.connection import worker_of
from appliance.temporal.health import PartHealth


async def serves(client: Client) -> PartHealth:
    """Ask the server for the namespace."""
    try:
        await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=client.namespace)
        )
    except RPCError as err:
        return PartHealth(ok=False, why=err.message)
    return PartHealth(ok=True)


async def sees_poll(client: Client, config: Config) -> PartHealth:
    """Ask the server whether it sees the worker whose connection this is among the pollers."""
    queue = config.temporal.task_queue
    try:
        found = await pollers(client, queue)
    except RPCError as err:
        return PartHealth(ok=False, why=err.message)
    if client.identity in found:
        return PartHealth(ok=True)
    return PartHealth(ok=False, why=f"it does not poll the task queue {queue!r}")


async def pollers(client: Client, queue: str) -> set[str]:
    """Return the identities of the workers of a task queue; the server lists one for minutes after its end.

    Raises:
        RPCError: the server does not answer.
    """
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    found = await client.workflow_service.describe_task_queue(request)
    return {worker_of(poller.identity)[0] for poller in found.pollers}
