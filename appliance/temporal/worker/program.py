"""The worker of this box: runs workflows and tries until it is told to stop.

The start is ordered by what takes longest: Airflow is imported while the server comes up. Tries that an earlier worker
of this box had in hand are reported as lost before new ones are taken.
"""

import asyncio
import logging
import signal
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.runtime import (
    LoggingConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import (
    SandboxedWorkflowRunner,
    SandboxRestrictions,
)

from appliance.config.environment import airflow_number
from appliance.config.model import Config
from appliance.dagfile.facts import Listing
from appliance.temporal.client.namespace import agree_on_key, prepare
from appliance.temporal.client.schedules import Schedules
from appliance.temporal.client.starter import Starter
from appliance.temporal.connection import dial, worker_identity
from appliance.temporal.failures import TaskFailureConverter
from appliance.temporal.keyring import Keyring, ensure_key
from appliance.temporal.messages import trigger_queue
from appliance.temporal.payloads import CONVERTER
from appliance.temporal.worker import reload, remains, retention
from appliance.temporal.worker.acting import Acting
from appliance.temporal.worker.activities import (
    LAST_WORDS_S,
    DagActivities,
    TryActivities,
    XComActivities,
)
from appliance.temporal.worker.answering import answering
from appliance.temporal.worker.backfilling import Backfilling
from appliance.temporal.worker.capacity import Capacity
from appliance.temporal.worker.clerk import Clerk
from appliance.temporal.worker.dispatch import Dispatch
from appliance.temporal.worker.doorkeeper import opened
from appliance.temporal.worker.exemption import Exemption
from appliance.temporal.worker.guarding import Guard
from appliance.temporal.worker.journal import Journal
from appliance.temporal.worker.leases import Leases
from appliance.temporal.worker.neighbours import Neighbours
from appliance.temporal.worker.page import Page
from appliance.temporal.worker.pools import Pools
from appliance.temporal.worker.registry import Registry
from appliance.temporal.worker.runs import Runs
from appliance.temporal.worker.selfwatch import watching
from appliance.temporal.worker.site import Beside, Site
from appliance.temporal.worker.triggering import TriggerActivities
from appliance.temporal.worker.vaults import Vaults
from appliance.temporal.worker.vouching import Vouching
from appliance.temporal.worker.workshop import Workshop
from appliance.temporal.workflows.action import AirflowScheduleAction
from appliance.temporal.workflows.backfill import AirflowBackfill
from appliance.temporal.workflows.dag import AirflowDag
from appliance.temporal.workflows.errand import AskApplianceWorker
from appliance.temporal.workflows.pool import AirflowPool
from appliance.temporal.workflows.run import ExecuteAirflowDagWorkflow
from appliance.temporal.workflows.scheduler import AirflowScheduler
from appliance.temporal.workflows.vault import AirflowVault
from appliance.warm.control import shield_from_children

_SERVER_WAIT_S = 60.0
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


@dataclass(frozen=True, slots=True)
class Started:
    """What the start banner tells of a worker that has just become ready."""

    listing: Listing
    server_at: float
    """By ``time.monotonic()``, as the others: when Temporal answered."""
    airflow_at: float
    ready_at: float


Announce = Callable[[Started], None]


def run(
    config: Config, announce: Announce, load: Callable[[], Config], beside: Beside
) -> None:
    """Work until SIGTERM or SIGINT.

    Args:
        config: The configuration.
        announce: Told once everything is ready.
        load: Reads the configuration again once it was saved.
        beside: What else is to be done in this process as long as it works.

    Raises:
        TemporalUnreachable: no server answered within a minute.
        ConfigError: the key file cannot be used.
    """
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stdout, format="%(levelname)s %(message)s"
    )
    # How each failed try ended is in the history and in its log.
    logging.getLogger("temporalio").setLevel(logging.ERROR)
    for module in (reload, retention):
        logging.getLogger(module.__name__).setLevel(logging.INFO)
    shield_from_children()
    asyncio.run(_work(config, announce, load, beside))


async def _work(
    config: Config, announce: Announce, load: Callable[[], Config], beside: Beside
) -> None:
    ensure_key(config.key_file)
    keys = Keyring(config.key_file)
    async with AsyncExitStack() as stack:
        vaults = Vaults(config)
        workshop = await stack.enter_async_context(Workshop(config, vaults))
        client = await dial(
            config,
            wait_s=_SERVER_WAIT_S,
            identity=f"appliance-{_name(config)}",
            runtime=_runtime(),
            data_converter=replace(
                CONVERTER, failure_converter_class=TaskFailureConverter
            ),
        )
        server_at = time.monotonic()
        has_attributes = await prepare(client, config)
        await agree_on_key(client, keys)
        journal = Journal(config.data / "worker" / "tries")
        wait_journal = Journal(config.data / "worker" / "waits")
        await remains.report(
            client, config.temporal.task_queue, tries=journal, waits=wait_journal
        )
        await workshop.folder()
        airflow_at = time.monotonic()
        registry = Registry(client, config.temporal.task_queue)
        capacity = Capacity(client, config, workshop.weights)
        dags = DagActivities(
            config,
            workshop,
            capacity,
            voucher=Vouching(keys).voucher,
            has_search_attributes=has_attributes,
        )
        starter = Starter(client, config, dags.read_dag)
        schedules, dispatch, page = _scheduling(
            client, config, workshop, has_attributes=has_attributes
        )
        neighbours = Neighbours(client, registry, starter, workshop.facts, schedules)
        runs = Runs(client, keys, neighbours)
        leases = Leases(workshop.runner(runs), parallelism=config.worker.parallelism)
        tries = TryActivities(
            leases,
            journal,
            Exemption(client, capacity),
            queue=_own_queue(config),
            runs=runs,
        )
        triggerer = workshop.triggerer(runs)
        stack.push_async_callback(triggerer.close)
        waits = TriggerActivities(
            client,
            triggerer,
            wait_journal,
            runs=runs,
            open_file=workshop.open_file,
            start_s=config.dags.import_timeout_s,
        )
        clerk = Clerk(client, registry, Vouching(keys).is_known)
        pools = Pools(client, config)
        desk = _desk(client, workshop, registry, schedules, pools, dispatch, clerk)
        # Until here there is nothing to lose: SIGTERM ends the process as it is.
        stop = _told_to_stop()
        for worker in _workers(client, config, workshop, tries, dags, desk):
            await stack.enter_async_context(worker)
        await stack.enter_async_context(_waiter(client, config, waits, desk))
        await vaults.open(client, keys)
        await stack.enter_async_context(opened(config, starter.start))
        await stack.enter_async_context(answering(client, config, clerk.refused))
        live = [one.reconfigure for one in (workshop, dags, vaults, pools, capacity)]
        await stack.enter_async_context(
            _following(
                Site(config, workshop.folder, schedules), page, load, live, beside
            )
        )
        await stack.enter_async_context(
            retention.keeping(client, config, workshop.purge)
        )
        await stack.enter_async_context(watching(config))
        await _until(stop, _tell(workshop, announce, server_at, airflow_at))


async def _tell(
    workshop: Workshop, announce: Announce, server_at: float, airflow_at: float
) -> None:
    ready_at = time.monotonic()
    announce(Started(await workshop.listing(), server_at, airflow_at, ready_at))


async def _until(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Work until told to stop; what has not ended by then is given up."""
    stopped, working = asyncio.ensure_future(stop.wait()), asyncio.create_task(work)
    await asyncio.wait((stopped, working), return_when=asyncio.FIRST_COMPLETED)
    if working.done():
        working.result()
        await stopped
    working.cancel()


def _told_to_stop() -> asyncio.Event:
    """Return what is set by the signals that end a worker."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


@asynccontextmanager
async def _following(
    site: Site,
    page: Page,
    load: Callable[[], Config],
    live: Sequence[reload.Apply],
    beside: Beside,
) -> AsyncIterator[None]:
    """Follow what is saved, schedules and the configuration, and what people press on the page of schedules."""
    apply = (*live, site.reconfigure)
    kept = page.kept(is_near=site.config.temporal.address is None)
    async with beside(site), reload.reloading(site.config, load, apply), kept:
        yield


def _scheduling(
    client: Client, config: Config, workshop: Workshop, *, has_attributes: bool
) -> tuple[Schedules, Dispatch, Page]:
    """Return the scheduler, what a worker does for it, and its page in the Temporal UI."""
    queue = config.temporal.task_queue
    schedules = Schedules(client, queue)
    dispatch = Dispatch(
        client, config, workshop.ask_timetables, has_search_attributes=has_attributes
    )
    return schedules, dispatch, Page(client, queue, schedules, dispatch.ask_timetables)


def _desk(
    client: Client,
    workshop: Workshop,
    registry: Registry,
    schedules: Schedules,
    pools: Pools,
    dispatch: Dispatch,
    clerk: Clerk,
) -> Sequence[Callable[..., Any]]:
    """Return what a worker does for the workflows that are no run."""
    backfilling = Backfilling(
        client, workshop, registry, schedules, dispatch.ask_timetables
    )
    return (
        *clerk.activities,
        *dispatch.activities,
        *Acting(schedules, registry, dispatch, backfilling).activities,
        *backfilling.activities,
        *pools.activities,
    )


def _workers(
    client: Client,
    config: Config,
    workshop: Workshop,
    tries: TryActivities,
    dags: DagActivities,
    desk: Sequence[Callable[..., Any]],
) -> tuple[Worker, Worker]:
    """Return the worker everybody may use, and the one only for tries this box has in hand."""
    queue = config.temporal.task_queue
    slots = config.worker.parallelism + _POLLERS + _HEADROOM
    # What is left of the grace is for tries that end on SIGTERM.
    grace = timedelta(seconds=max(0.0, config.worker.grace_s - LAST_WORDS_S))
    shared = Worker(
        client,
        task_queue=queue,
        workflows=[
            ExecuteAirflowDagWorkflow,
            AirflowDag,
            AirflowScheduler,
            AirflowScheduleAction,
            AirflowBackfill,
            AirflowPool,
            AskApplianceWorker,
            AirflowVault,
        ],
        workflow_runner=_SANDBOX,
        activities=[
            tries.run_airflow_task,
            tries.find_holders,
            tries.reattach_airflow_task,
            dags.read_dag,
            dags.list_dags,
            XComActivities(workshop.resolve).resolve_xcoms,
            *desk,
        ],
        interceptors=[Guard()],
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
        task_queue=_own_queue(config),
        activities=[tries.reattach_airflow_task],
        max_concurrent_activities=slots,
        max_concurrent_activity_task_polls=1,
        build_id=_BUILD,
        max_heartbeat_throttle_interval=_HEARTBEAT,
        default_heartbeat_throttle_interval=_HEARTBEAT,
        graceful_shutdown_timeout=grace,
    )
    return shared, own


def _waiter(
    client: Client,
    config: Config,
    waits: TriggerActivities,
    desk: Sequence[Callable[..., Any]],
) -> Worker:
    """Return the worker for waits, as many as there are, each next to nothing, and for what no try may hold up."""
    capacity = airflow_number(config, "TRIGGERER__CAPACITY", _MOST_WAITS)
    return Worker(
        client,
        task_queue=trigger_queue(config.temporal.task_queue),
        activities=[waits.run_trigger, *desk],
        max_concurrent_activities=int(capacity),
        max_concurrent_activity_task_polls=_WAIT_POLLERS,
        build_id=_BUILD,
        max_heartbeat_throttle_interval=_HEARTBEAT,
        default_heartbeat_throttle_interval=_HEARTBEAT,
    )


def _runtime() -> Runtime:
    """Keep the SDK's core from reporting on itself; what matters comes back as an error."""
    quiet = TelemetryFilter(core_level="ERROR", other_level="ERROR")
    return Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(filter=quiet)))


def _own_queue(config: Config) -> str:
    return f"{config.temporal.task_queue}@{_name(config)}"


def _name(config: Config) -> str:
    """Name this box's worker; the same after a restart, another one in another data folder."""
    path: Path = config.data / "worker" / "name"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(uuid.uuid4().hex[:12])
    return path.read_text().strip()
