"""Watches free disk space, the quota of logs, and the clock."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from appliance.config.free_disk import shortage
from appliance.config.model import Config
from appliance.config.sizes import size
from appliance.taskrun.log_quota import trim
from appliance.temporal.background_loop import repeating
from appliance.worker.clock_changes import Clock

_LOG = logging.getLogger(__name__)
_LOOK_S = 10.0
_TRIM_S = 300.0
"""How often logs are measured; their folder may hold many files."""


@asynccontextmanager
async def watching(config: Config) -> AsyncIterator[None]:
    """Say once when room runs short, when it is back and when the clock jumps; keep logs within their quota."""
    clock, was_short = Clock(), False

    async def watch_clock() -> float:
        jump = clock.jumped(wall_s=time.time(), steady_s=time.monotonic())
        if jump:
            _LOG.warning("%s", jump)
        return _LOOK_S

    async def watch_room() -> float:
        nonlocal was_short
        why = shortage(config)
        if why and not was_short:
            _LOG.error("%s", why)
        elif was_short and not why:
            _LOG.warning("%s: there is room again, runs are accepted", config.data)
        was_short = why is not None
        return _LOOK_S

    async def trim_logs() -> float:
        await _trim(config)
        return _TRIM_S

    async with (
        repeating("the clock is not watched", watch_clock),
        repeating("the room on the disk is not watched", watch_room),
        repeating("logs are not kept within disk.logs", trim_logs, most_s=_TRIM_S),
    ):
        yield


async def _trim(config: Config) -> None:
    quota = config.disk.logs_bytes
    removed = await asyncio.to_thread(trim, config.data, quota)
    if removed:
        _LOG.warning(
            "logs took more than %s (disk.logs): those of the %d oldest runs were removed",
            size(quota),
            removed,
        )
