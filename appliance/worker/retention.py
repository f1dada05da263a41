"""Deletes logs and XComs of runs that Temporal no longer has.

A finished run leaves the server ``retention`` after its end. What it left in the data folder goes with
it: once nothing was written for that long and the server says there is no such run. So a server
that keeps runs longer keeps their logs, and a run that sleeps for a year has its own.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from appliance.config.airflow_environment import airflow_environment
from appliance.config.model import Config
from appliance.taskrun.run_files import RunFiles, traces
from appliance.temporal.background_loop import repeating
from appliance.temporal.connection import workflow_id

_LOG = logging.getLogger(__name__)
_EVERY_S = 3600.0
_LEAST_S = 60.0

Purge = Callable[[Sequence[RunFiles]], Awaitable[None]]
"""Deletes XComs of these runs, wherever they are."""


@asynccontextmanager
async def keeping(client: Client, config: Config, purge: Purge) -> AsyncIterator[None]:
    """Clean up now and every hour, or more often when little is kept."""
    every_s = min(_EVERY_S, max(_LEAST_S, config.temporal.retention_s / 10))

    async def look() -> float:
        number = await clean(client, config, purge, now=time.time())
        if number:
            days = config.temporal.retention_s / 86400
            text = "deleted logs and XComs of %d run%s older than %g days"
            _LOG.info(text, number, "" if number == 1 else "s", days)
        return every_s

    what = "old logs and XComs could not be deleted"
    async with repeating(what, look, most_s=every_s):
        yield


async def clean(client: Client, config: Config, purge: Purge, *, now: float) -> int:
    """Delete what runs left that are gone; return how many runs that were."""
    before = now - config.temporal.retention_s
    found = await asyncio.to_thread(
        traces, config.data, _xcom_folder(config), before=before
    )
    gone = [trace for trace in found if await _is_gone(client, trace)]
    if gone:
        # Logs last: they are what tells of a run whose XComs are elsewhere.
        await purge(gone)
    for trace in gone:
        await asyncio.to_thread(trace.erase)
    return len(gone)


async def _is_gone(client: Client, trace: RunFiles) -> bool:
    handle = client.get_workflow_handle(workflow_id(trace.dag_id, trace.run_id))
    try:
        await handle.describe()
    except RPCError as err:
        if err.status != RPCStatusCode.NOT_FOUND:
            raise
        return True
    return False


def _xcom_folder(config: Config) -> Path | None:
    """Return where XComs are when they are in files; another store is asked by Airflow's backend."""
    path = airflow_environment(config)["AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH"]
    url = urlsplit(path)
    return Path(unquote(url.path)) if url.scheme in ("", "file") else None
