"""Whether the server serves and a worker of ours polls it. Fails closed: what was not seen to work does not work."""

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeTaskQueueRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError

from appliance.config.model import Config
from appliance.temporal.reports import PartHealth, ProbeResult


async def probe(client: Client, config: Config) -> ProbeResult:
    """Ask the server for the namespace, and for who polls our task queue."""
    try:
        await client.workflow_service.describe_namespace(
            DescribeNamespaceRequest(namespace=client.namespace)
        )
    except RPCError as err:
        return ProbeResult(PartHealth(ok=False, why=err.message), PartHealth(ok=False))
    return ProbeResult(PartHealth(ok=True), await _worker(client, config))


async def _worker(client: Client, config: Config) -> PartHealth:
    queue = config.temporal.task_queue
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    try:
        found = await client.workflow_service.describe_task_queue(request)
    except RPCError as err:
        return PartHealth(ok=False, why=err.message)
    if found.pollers:
        return PartHealth(ok=True)
    return PartHealth(ok=False, why=f"no worker polls the task queue {queue!r}")
