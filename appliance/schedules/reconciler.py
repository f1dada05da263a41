"""Watches the DAG folder and the configuration, and declares to the scheduler what has changed.

It is a part of every worker. Several workers that declare the same do no harm: each sends only what differs from what
the scheduler has, and declaring twice changes nothing. Where workers differ, as during a rolling upgrade, the last
change counts: a worker declares when its files have changed or it has just started, not because another worker
declared something else. A restart loses nothing, as nothing is remembered here.
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
from appliance.schedules.declarations import unreadable, wanted_schedules
from appliance.schedules.messages import KnownSchedule
from appliance.temporal.background_loop import repeating

_LOG = logging.getLogger(__name__)
LOOK_S = 1.0
"""With two looks of the configuration's own watch, less than the two seconds that the documentation promises."""
_MOST_S = 5.0
"""Between two looks while they fail."""
_AGAIN_S = 60.0
"""How often the scheduler is compared although nothing has changed here: it may have been terminated."""


class Reconciler:
    """Declares the schedules of one worker."""

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
        """The problems declared last; None: this worker has declared nothing so far."""

    def reconfigure(self, config: Config) -> None:
        """Use a changed configuration from now on."""
        self._config = config

    async def look(self) -> None:
        """Make a pass if something has changed since the last one, or the last one is long ago."""
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
        """Make passes until the block is left."""

        async def look() -> float:
            await self.look()
            return LOOK_S

        what = "the schedules could not be looked after"
        async with repeating(what, look, most_s=_MOST_S):
            yield

    async def _is_alone(self) -> bool:
        """Tell whether no other worker that still polls has declared something since, which would count now."""
        declared = await self._schedules.declared()
        if not declared:
            return True
        by = next(iter(declared.values())).by
        return await self._schedules.has_left(by)

    async def _pass(self, listing: Listing, config: Config) -> None:
        schedules = self._schedules
        declared = await schedules.declared()
        if declared is None:
            # Start the scheduler first: it may take over what a terminated one knew.
            await schedules.declare([], [], self._problems or ())
            declared = await schedules.declared() or {}
        kept = unreadable(listing, declared.values())
        wanted = wanted_schedules(listing, config, kept)
        declarations = {one.name: one for one in wanted.declarations}
        changed = [
            one
            for one in declarations.values()
            if _differs(declared.get(one.name), one.digest)
        ]
        removed = [
            name
            for name, one in declared.items()
            if name not in declarations and (one.is_configured or name not in kept)
        ]
        if changed or removed or wanted.problems != self._problems:
            await schedules.declare(changed, removed, wanted.problems)
        for problem in wanted.problems:
            if problem not in (self._problems or ()):
                _LOG.error("%s", problem)
        self._problems = wanted.problems


def _differs(declared: KnownSchedule | None, digest: str) -> bool:
    return declared is None or declared.digest != digest
