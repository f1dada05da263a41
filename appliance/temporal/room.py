"""Whether the data folder has room for another run, and what is done to keep it so.

Logs, large XComs and the history of every run end up there. A full disk stops the server and with it every run, so new
ones are turned away while those that have begun still have room to end.
"""

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from appliance.config.model import Config
from appliance.config.sizes import size
from appliance.taskrun.logquota import trim

_LOG = logging.getLogger(__name__)
_LOOK_S = 10.0
_TRIM_EVERY = 30
"""Looks after which logs are measured; their folder may hold many files."""


def shortage(config: Config) -> str | None:
    """Say that there is too little free space, and what to do; None when there is enough."""
    found = os.statvfs(config.data)
    free = found.f_bavail * found.f_frsize
    if free >= config.disk.floor_bytes:
        return None
    return (
        f"{config.data}: only {size(free)} of disk space are free there. Below "
        f"{size(config.disk.floor_bytes)} (disk.floor) no new run is accepted; those "
        f"that have begun go on. Make room: remove old logs or XComs in {config.data}, "
        "lower `retention`, or give it a larger disk."
    )


@asynccontextmanager
async def kept(config: Config) -> AsyncIterator[None]:
    """Say when room runs short and when it is back, and keep logs within their quota."""
    keeper = asyncio.create_task(_keep(config))
    try:
        yield
    finally:
        keeper.cancel()


async def _keep(config: Config) -> None:
    was_short = False
    looks = 0
    while True:
        why = shortage(config)
        if why and not was_short:
            _LOG.error("%s", why)
        elif was_short and not why:
            _LOG.warning("%s: there is room again, runs are accepted", config.data)
        was_short = why is not None
        if looks % _TRIM_EVERY == 0:
            await _trim(config)
        looks += 1
        await asyncio.sleep(_LOOK_S)


async def _trim(config: Config) -> None:
    quota = config.disk.logs_bytes
    removed = await asyncio.to_thread(trim, config.data, quota)
    if removed:
        _LOG.warning(
            "logs took more than %s (disk.logs): those of the %d oldest runs were removed",
            size(quota),
            removed,
        )
