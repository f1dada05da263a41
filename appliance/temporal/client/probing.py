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
    rest = asyncio.to_thread(_worker_and_rest, config)
    server, told, page = await asyncio.gather(serves(client), rest, ui)
    return ProbeResult(server, *told, ui=page)


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


def _worker_and_rest(
    config: Config,
) -> tuple[PartHealth, PartHealth | None, PartHealth | None]:
    """Ask the worker itself: the server lists one for minutes after its death."""
    try:
        told = ask(folder_of(config))
    except (OSError, ValueError) as err:
        why = f"the worker of this box does not answer: {err}"
        return PartHealth(ok=False, why=why), None, None
    worker, room, state = (PartHealth(**told[n]) for n in ("worker", "room", "state"))
    return worker, room, state


def _ui(config: Config) -> PartHealth | None:
    why_not = ui_why_not(folder_of(config))
    return None if why_not is None else PartHealth(ok=not why_not, why=why_not)
