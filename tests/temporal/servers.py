"""A real Temporal server of a test's own, in memory, and the worker of runs that are never told of tries."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from appliance.active_runs.activities import ActiveRunsActivities
from appliance.active_runs.client import ActiveRunsClient
from appliance.active_runs.workflow import AirflowDag
from appliance.runs.workflow import ExecuteAirflowDagWorkflow
from appliance.worker.entity_recovery import EntityRecovery

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
        clerk = ActiveRunsActivities(ActiveRunsClient(client, "q"), lambda _: True)
        async with Worker(
            client,
            task_queue="q",
            workflows=[ExecuteAirflowDagWorkflow, AirflowDag],
            activities=[read_dag, *clerk.activities, EntityRecovery(client).rebuild],
            no_remote_activities=no_remote_activities,
        ):
            yield client
