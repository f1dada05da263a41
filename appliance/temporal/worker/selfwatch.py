"""What a box keeps an eye on beside its work: the room on its disk, its logs, its clock."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from appliance.config.model import Config
from appliance.config.sizes import size
from appliance.taskrun.logquota import trim
from appliance.temporal.worker.clock import Clock
from appliance.temporal.worker.room import shortage

_LOG = logging.getLogger(__name__)
_LOOK_S = 10.0
_TRIM_EVERY = 30
"""Looks after which logs are measured; their folder may hold many files."""


@asynccontextmanager
async def watching(config: Config) -> AsyncIterator[None]:
    """Say once when room runs short, when it is back and when the clock jumps; keep logs within their quota."""
    watch = asyncio.create_task(_watch(config))
    try:
        yield
    finally:
        watch.cancel()


async def _watch(config: Config) -> None:
    clock = Clock()
    was_short = False
    looks = 0
    while True:
        jump = clock.jumped(wall_s=time.time(), steady_s=time.monotonic())
        if jump:
            _LOG.warning("%s", jump)
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
