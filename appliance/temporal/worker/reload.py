"""Brings a saved configuration into force while the worker runs."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from appliance.config.model import Config
from appliance.config.watch import EVERY_S, Watch

_LOG = logging.getLogger(__name__)

Apply = Callable[[Config], None]


@asynccontextmanager
async def reloading(
    config: Config, load: Callable[[], Config], apply: Sequence[Apply]
) -> AsyncIterator[None]:
    """Watch what the configuration was read from, and hand a good one to all of ``apply``."""
    watching = asyncio.create_task(_watch(Watch(config, load), apply))
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


async def _watch(watch: Watch, apply: Sequence[Apply]) -> None:
    while True:
        await asyncio.sleep(EVERY_S)
        change = await asyncio.to_thread(watch.look)
        if change is None:
            continue
        _LOG.log(logging.ERROR if change.is_bad else logging.INFO, "%s", change.text)
        for one in apply:
            one(change.config)
