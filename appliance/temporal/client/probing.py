"""Whether the server serves and the worker of this box polls it. Fails closed: what was not seen to work does not work."""

import asyncio

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeTaskQueueRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError

from appliance.config.model import Config
from appliance.temporal.client.checkup import ask, ui_why_not
from appliance.temporal.client.door import folder_of
from appliance.temporal.connection import worker_of
from appliance.temporal.reports import PartHealth, ProbeResult


async def probe(client: Client, config: Config) -> ProbeResult:
    """Ask the server for the namespace, this box's worker how it is, and its UI for a page."""
    ui = asyncio.to_thread(_ui, config)
    rest = asyncio.to_thread(_worker_and_room, config)
    server, told, page = await asyncio.gather(serves(client), rest, ui)
    return ProbeResult(server, *told, page)


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
    request = DescribeTaskQueueRequest(
        namespace=client.namespace,
        task_queue=TaskQueue(name=queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    try:
        found = await client.workflow_service.describe_task_queue(request)
    except RPCError as err:
        return PartHealth(ok=False, why=err.message)
    if client.identity in [worker_of(one.identity)[0] for one in found.pollers]:
        return PartHealth(ok=True)
    return PartHealth(ok=False, why=f"it does not poll the task queue {queue!r}")


def _ui(config: Config) -> PartHealth | None:
    why_not = ui_why_not(folder_of(config))
    return None if why_not is None else PartHealth(ok=not why_not, why=why_not)


def _worker_and_room(config: Config) -> tuple[PartHealth, PartHealth | None]:
    """Ask the worker itself: the server lists one for minutes after its death."""
    try:
        told = ask(folder_of(config))
    except (OSError, ValueError) as err:
        why = f"the worker of this box does not answer: {err}"
        return PartHealth(ok=False, why=why), None
    return PartHealth(**told["worker"]), PartHealth(**told["room"])
