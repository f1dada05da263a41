"""Somebody who reaches the Temporal server, and nothing else: he has whatever he likes done there, with any input."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from tests.box import RunningBox

QUEUE = "airflow-tasks"
WAITS = "airflow-tasks-triggers"
_OWN = "attacker"
_PATIENCE = timedelta(seconds=40)


@dataclass
class Order:
    """One activity of the appliance, and its input as JSON."""

    activity: str
    given: Any
    queue: str = QUEUE


@workflow.defn
class Attack:
    """Has activities of others done, all at once; returns what each said."""

    @workflow.run
    async def run(self, orders: list[Order]) -> list[str]:
        return await asyncio.gather(*map(self._do, orders))

    async def _do(self, order: Order) -> str:
        try:
            result = await workflow.execute_activity(
                order.activity,
                order.given,
                task_queue=order.queue,
                schedule_to_close_timeout=_PATIENCE,
                retry_policy=RetryPolicy(maximum_attempts=1),
            )
        except ActivityError as err:
            parts = []
            cause: BaseException | None = err
            while cause is not None:
                parts.append(str(cause))
                cause = cause.__cause__
            return "ERROR " + " | ".join(parts)
        return "OK " + json.dumps(result)


class Attacker:
    """What he has: a connection."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def order(self, *orders: Order, name: str | None = None) -> list[str]:
        """Have activities done by a workflow of his own, of any name."""
        found: list[str] = await self.client.execute_workflow(
            Attack.run,
            list(orders),
            id=name or f"attack-{uuid.uuid4()}",
            task_queue=_OWN,
        )
        return found

    async def start(self, kind: str, *given: Any, name: str | None = None) -> str:
        """Start a workflow of the appliance; return how it ended, or that its task failed."""
        handle = await self.client.start_workflow(
            kind,
            args=list(given),
            id=name or f"attack-{uuid.uuid4()}",
            task_queue=QUEUE,
            result_type=None,
        )
        try:
            return await self.ended(handle)
        finally:
            with suppress(Exception):
                await handle.terminate()

    async def ended(self, handle: WorkflowHandle[Any, Any]) -> str:
        """Return how a workflow ended; raise if its task fails."""
        ending = asyncio.ensure_future(handle.result())
        deadline = asyncio.get_running_loop().time() + _PATIENCE.total_seconds()
        while not ending.done():
            await asyncio.wait((ending,), timeout=0.5)
            await self.is_sound(handle)
            assert asyncio.get_running_loop().time() < deadline, "it goes on for ever"
        try:
            return "OK " + json.dumps(ending.result())
        except WorkflowFailureError as err:
            parts = []
            cause: BaseException | None = err.cause
            while cause is not None:
                parts.append(str(cause))
                cause = cause.__cause__
            return "ERROR " + " | ".join(parts)

    async def is_sound(self, handle: WorkflowHandle[Any, Any]) -> None:
        """Raise if a workflow task has failed: that is tried for ever."""
        async for event in handle.fetch_history_events():
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
                told = event.workflow_task_failed_event_attributes
                raise AssertionError(f"a workflow task failed: {told.failure}")


@asynccontextmanager
async def attacking(box: RunningBox) -> AsyncIterator[Attacker]:
    """Connect to the server of an appliance, with a worker of the attacker's own."""
    client = await Client.connect(f"127.0.0.1:{box.environ['APPLIANCE_PORT']}")
    async with Worker(
        client,
        task_queue=_OWN,
        workflows=[Attack],
        workflow_runner=UnsandboxedWorkflowRunner(),
    ):
        yield Attacker(client)


def a_try(name: str, **changes: Any) -> dict[str, Any]:
    """Return the input of a try of ``shop.sell`` that the workflow ``name`` asks for, changed; ``run_...``: of its run."""
    noon = "2026-01-02T12:00:00+00:00"
    run = {
        "dag_id": "shop",
        "run_id": "manual__1",
        "run_type": "manual",
        "logical_date": noon,
        "data_interval_start": noon,
        "data_interval_end": noon,
        "run_after": noon,
        "start_date": noon,
        "file": "shop.py",
        "conf": {},
        "workflow_id": name,
    }
    given = {
        "task_id": "sell",
        "map_index": -1,
        "try_number": 1,
        "max_tries": 0,
        "ti_id": str(uuid.uuid4()),
    }
    for key, value in changes.items():
        into = run if key.startswith("run_") else given
        into[key.removeprefix("run_") if key != "run_run_id" else "run_id"] = value
    return {"run": run, **given}


def texts(answers: Sequence[str]) -> str:
    """Return all answers as one text."""
    return "\n".join(answers)
