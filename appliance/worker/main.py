"""The worker process: runs workflows and tries until it is told to stop.

The start is ordered by what takes longest: Airflow is imported while the server comes up. Tries that an earlier worker
of this box had in hand are reported as lost before new ones are taken.
"""

import asyncio
import logging
import signal
import sys
import time
import uuid
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
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

from appliance.config.model import Config
from appliance.dagfile.models import Listing
from appliance.forkserver.control import shield_from_children
from appliance.kv_store.client import KvStores
from appliance.runs.attempt_journal import AttemptJournal
from appliance.sockets.health_server import serving_health
from appliance.sockets.submit_server import serving_submissions
from appliance.temporal.connection import dial
from appliance.temporal.failures import TaskFailureConverter
from appliance.temporal.keyring import Keyring, ensure_key
from appliance.temporal.namespace import agree_on_key, prepare
from appliance.temporal.payloads import CONVERTER
from appliance.worker import config_reload, crash_recovery, retention
from appliance.worker.config_reload import reloading
from appliance.worker.services import Services
from appliance.worker.task_host import TaskHost
from appliance.worker.temporal_workers import temporal_workers
from appliance.worker.watchdog import watching

_SERVER_WAIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Started:
    """What the start banner tells of a worker that has just become ready."""

    listing: Listing
    server_at: float
    """By ``time.monotonic()``, as the others: when Temporal answered."""
    airflow_at: float
    ready_at: float


Announce = Callable[[Started], None]


def run(config: Config, announce: Announce, load: Callable[[], Config]) -> None:
    """Work until SIGTERM or SIGINT.

    Args:
        config: The configuration.
        announce: Told once everything is ready.
        load: Reads the configuration again once it was saved.

    Raises:
        TemporalUnreachable: no server answered within a minute.
        ConfigError: the key file cannot be used.
    """
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stdout, format="%(levelname)s %(message)s"
    )
    # How each failed try ended is in the history and in its log.
    logging.getLogger("temporalio").setLevel(logging.ERROR)
    for module in (config_reload, retention):
        logging.getLogger(module.__name__).setLevel(logging.INFO)
    shield_from_children()
    asyncio.run(_work(config, announce, load))


async def _work(config: Config, announce: Announce, load: Callable[[], Config]) -> None:
    ensure_key(config.key_file)
    keys = Keyring(config.key_file)
    async with AsyncExitStack() as stack:
        stores = KvStores(config)
        host = await stack.enter_async_context(TaskHost(config, stores))
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
        attempts = AttemptJournal(config.data / "worker" / "tries")
        deferrals = AttemptJournal(config.data / "worker" / "waits")
        await crash_recovery.report(
            client, config.temporal.task_queue, tries=attempts, waits=deferrals
        )
        await host.folder()
        airflow_at = time.monotonic()
        services = Services(
            client,
            config,
            host,
            stores,
            keys,
            own_queue=f"{config.temporal.task_queue}@{_name(config)}",
            journals=(attempts, deferrals),
            has_search_attributes=has_attributes,
        )
        stack.push_async_callback(services.triggerer.close)
        # Until here there is nothing to lose: SIGTERM ends the process as it is.
        stop = _told_to_stop()
        workers = temporal_workers(client, config, services)
        for worker in workers:
            await stack.enter_async_context(worker)
        await stores.open(client, keys)
        for background in _background(client, config, load, host, services, workers):
            await stack.enter_async_context(background)
        await _until(stop, _announce(host, announce, server_at, airflow_at))


def _background(
    client: Client,
    config: Config,
    load: Callable[[], Config],
    host: TaskHost,
    services: Services,
    workers: Sequence[Worker],
) -> Sequence[AbstractAsyncContextManager[None]]:
    """Return what runs beside the activities as long as the worker does, in the order it is started."""
    is_near = config.temporal.address is None
    return (
        serving_submissions(config, services.starter.start),
        serving_health(
            client, config, services.recovery.refused, host.plugin_warnings, workers
        ),
        services.reconciler.running(),
        reloading(config, load, services.reconfigure),
        services.temporal_schedules.kept(is_near=is_near),
        retention.keeping(client, config, host.purge),
        watching(config),
    )


async def _announce(
    host: TaskHost, announce: Announce, server_at: float, airflow_at: float
) -> None:
    ready_at = time.monotonic()
    announce(Started(await host.listing(), server_at, airflow_at, ready_at))


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


def _runtime() -> Runtime:
    """Keep the SDK's core from reporting on itself; what matters comes back as an error."""
    quiet = TelemetryFilter(core_level="ERROR", other_level="ERROR")
    return Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(filter=quiet)))


def _name(config: Config) -> str:
    """Name this box's worker; the same after a restart, another one in another data folder."""
    path: Path = config.data / "worker" / "name"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(uuid.uuid4().hex[:12])
    return path.read_text().strip()
