"""Brings a saved configuration into force while the worker runs."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from appliance.config.model import Config
from appliance.config.watch import EVERY_S, Watch
from appliance.temporal.background_loop import repeating

_LOG = logging.getLogger(__name__)
_MOST_S = 5.0

Apply = Callable[[Config], None]


@asynccontextmanager
async def reloading(
    config: Config, load: Callable[[], Config], apply: Sequence[Apply]
) -> AsyncIterator[None]:
    """Watch what the configuration was read from, and hand a good one to all of ``apply``."""
    watch = Watch(config, load)

    async def look() -> float:
        change = await asyncio.to_thread(watch.look)
        if change is not None:
            _LOG.log(
                logging.ERROR if change.is_bad else logging.INFO, "%s", change.text
            )
            for one in apply:
                one(change.config)
        return EVERY_S

    async with repeating("a saved configuration is not read", look, most_s=_MOST_S):
        yield
