"""Watches the DAG folder and the configuration, and declares what has changed to the scheduler.

A part of every worker. That several say the same does no harm: each says only what differs from what the scheduler
knows, and saying it twice changes nothing. Where they differ, as while a new version is rolled out, what changed last
counts: a worker speaks up when something has changed for it or it has just started, not because another one thinks
otherwise. Nothing is remembered here that a restart would lose.
"""

import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from appliance.config.model import Config
from appliance.dagfile.folder import DagFolder
from appliance.dagfile.models import Listing
from appliance.schedules.client import SchedulesClient
from appliance.schedules.declarations import unreadable, wanted
from appliance.schedules.messages import KnownSchedule
from appliance.temporal.background_loop import repeating

_LOG = logging.getLogger(__name__)
LOOK_S = 1.0
"""With two looks of the configuration's own watch, less than the two seconds people are promised."""
_MOST_S = 5.0
"""Between two looks while they fail."""
_AGAIN_S = 60.0
"""How often the scheduler is compared though nothing has changed here: somebody may have terminated it."""


class Reconciler:
    """One pass after another."""

    def __init__(
        self,
        config: Config,
        folder: Callable[[], Awaitable[DagFolder]],
        schedules: SchedulesClient,
    ) -> None:
        """``folder`` gives the DAG folder as soon as it can be read."""
        self._config = config
        self._folder = folder
        self._schedules = schedules
        self._seen: tuple[str, Config] | None = None
        self._passed_at = -math.inf
        self._problems: tuple[str, ...] | None = None
        """What was told last; None: nothing, whatever an earlier worker told."""

    def reconfigure(self, config: Config) -> None:
        """Take a configuration that was saved."""
        self._config = config

    async def look(self) -> None:
        """Make a pass if anything has changed since the last one, or that is long ago."""
        folder = await self._folder()
        config = self._config
        now = (await folder.version(), config)
        has_changed = now != self._seen
        is_old = time.monotonic() - self._passed_at >= _AGAIN_S
        if not (has_changed or is_old):
            return
        if has_changed or await self._is_alone():
            await self._pass(await folder.listing(is_for_people=False), config)
        self._seen, self._passed_at = now, time.monotonic()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Make one pass after another until the block is left."""

        async def look() -> float:
            await self.look()
            return LOOK_S

        what = "the schedules could not be looked after"
        async with repeating(what, look, most_s=_MOST_S):
            yield

    async def _is_alone(self) -> bool:
        """Whether no other worker has told the scheduler something since, which may be what counts now."""
        known = await self._schedules.declared()
        if not known:
            return True
        by = next(iter(known.values())).by
        return await self._schedules.has_left(by)

    async def _pass(self, listing: Listing, config: Config) -> None:
        schedules = self._schedules
        known = await schedules.declared()
        if (
            known is None
        ):  # The next one may come to remember what one that was terminated knew.
            await schedules.declare([], [], self._problems or ())
            known = await schedules.declared() or {}
        kept = unreadable(listing, known.values())
        found = wanted(listing, config, kept)
        declarations = {one.name: one for one in found.declarations}
        changed = [
            one
            for one in declarations.values()
            if _differs(known.get(one.name), one.digest)
        ]
        removed = [
            name
            for name, one in known.items()
            if name not in declarations and (one.is_configured or name not in kept)
        ]
        if changed or removed or found.problems != self._problems:
            await schedules.declare(changed, removed, found.problems)
        for problem in found.problems:
            if problem not in (self._problems or ()):
                _LOG.error("%s", problem)
        self._problems = found.problems


def _differs(known: KnownSchedule | None, digest: str) -> bool:
    return known is None or known.digest != digest
