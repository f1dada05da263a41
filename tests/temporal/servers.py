"""A real Temporal server of a test's own, in memory, and the worker of runs that are never told of tries."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from appliance.temporal.worker.clerk import Clerk
from appliance.temporal.worker.registry import Registry
from appliance.temporal.workflows.dag import AirflowDag
from appliance.temporal.workflows.run import ExecuteAirflowDagWorkflow

_DYNAMIC = "--dynamic-config-value"


@asynccontextmanager
async def serving(*dynamic_config: str) -> AsyncIterator[Client]:
    """Start the server that is installed beside the interpreter."""
    settings = [word for one in dynamic_config for word in (_DYNAMIC, one)]
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=str(Path(sys.executable).with_name("temporal")),
        dev_server_extra_args=settings,
    ) as environment:
        yield environment.client


@asynccontextmanager
async def running_runs(
    read_dag: Callable[..., Any], *, no_remote_activities: bool = False
) -> AsyncIterator[Client]:
    """Start a server with a worker of the queue ``q``, which runs the DAGs that ``read_dag`` returns."""
    async with serving() as client:
        clerk = Clerk(client, Registry(client, "q"), lambda _: True)
        async with Worker(
            client,
            task_queue="q",
            workflows=[ExecuteAirflowDagWorkflow, AirflowDag],
            activities=[read_dag, *clerk.activities],
            no_remote_activities=no_remote_activities,
        ):
            yield client
