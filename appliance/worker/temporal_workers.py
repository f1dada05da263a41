"""The three Temporal workers of one process: their task queues, slots and pollers."""

from datetime import timedelta
from importlib.metadata import version

from temporalio.client import Client
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import (
    SandboxedWorkflowRunner,
    SandboxRestrictions,
)

from appliance.active_runs.workflow import AirflowDag
from appliance.backfills.workflow import AirflowBackfill
from appliance.config.airflow_environment import airflow_number
from appliance.config.model import Config
from appliance.kv_store.workflow import AirflowVault
from appliance.pools.workflow import AirflowPool
from appliance.runs.activities import LAST_WORDS_S
from appliance.runs.workflow import ExecuteAirflowDagWorkflow
from appliance.schedules.temporal_schedule_workflow import AirflowScheduleAction
from appliance.schedules.workflow import AirflowScheduler
from appliance.temporal.connection import worker_identity
from appliance.temporal.message_guard import MessageGuard
from appliance.temporal.messages import trigger_queue
from appliance.worker.services import Services
from appliance.worker_questions.workflow import AskApplianceWorker

WORKFLOWS = (
    ExecuteAirflowDagWorkflow,
    AirflowDag,
    AirflowScheduler,
    AirflowScheduleAction,
    AirflowBackfill,
    AirflowPool,
    AskApplianceWorker,
    AirflowVault,
)
"""All workflow types of the appliance."""
_POLLERS = 5
_HEADROOM = 8
"""Activity slots beyond parallelism and pollers: eager execution dies when pollers hold every slot."""
_HEARTBEAT = timedelta(seconds=3)
_CACHED_WORKFLOWS = 500
_MOST_WAITS = 10_000
_WAIT_POLLERS = 2
_BUILD = f"appliance {version('appliance')}"
"""Told to Temporal; the SDK's own, a digest of all loaded code, takes 0.4 s at every start."""
_SANDBOX = SandboxedWorkflowRunner(
    restrictions=SandboxRestrictions.default.with_passthrough_modules("appliance")
)
"""Our modules are not loaded anew for each workflow, which costs 45 ms; tests replay histories where they are."""


def temporal_workers(
    client: Client, config: Config, services: Services
) -> tuple[Worker, Worker, Worker]:
    """Return the worker of all workflows and tries, the one for tries in hand here, and the one for waits."""
    slots = config.worker.parallelism + _POLLERS + _HEADROOM
    # What is left of the grace is for tries that end on SIGTERM.
    grace = timedelta(seconds=max(0.0, config.worker.grace_s - LAST_WORDS_S))
    shared = Worker(
        client,
        task_queue=config.temporal.task_queue,
        workflows=WORKFLOWS,
        workflow_runner=_SANDBOX,
        activities=services.shared,
        interceptors=[MessageGuard()],
        max_cached_workflows=_CACHED_WORKFLOWS,
        max_concurrent_activities=slots,
        max_concurrent_activity_task_polls=_POLLERS,
        build_id=_BUILD,
        identity=worker_identity(client.identity, config.worker.parallelism),
        max_heartbeat_throttle_interval=_HEARTBEAT,
        default_heartbeat_throttle_interval=_HEARTBEAT,
        graceful_shutdown_timeout=grace,
    )
    own = Worker(
        client,
        task_queue=services.own_queue,
        activities=services.own,
        max_concurrent_activities=slots,
        max_concurrent_activity_task_polls=1,
        build_id=_BUILD,
        max_heartbeat_throttle_interval=_HEARTBEAT,
        default_heartbeat_throttle_interval=_HEARTBEAT,
        graceful_shutdown_timeout=grace,
    )
    # As many waits as there are, each of which costs next to nothing.
    capacity = airflow_number(config, "TRIGGERER__CAPACITY", _MOST_WAITS)
    waiting = Worker(
        client,
        task_queue=trigger_queue(config.temporal.task_queue),
        activities=services.waiting,
        max_concurrent_activities=int(capacity),
        max_concurrent_activity_task_polls=_WAIT_POLLERS,
        build_id=_BUILD,
        max_heartbeat_throttle_interval=_HEARTBEAT,
        default_heartbeat_throttle_interval=_HEARTBEAT,
    )
    return shared, own, waiting
