"""Watches the DAG folder and the configuration, and tells the scheduler what has changed.

A part of every worker. That several say the same does no harm: each says only what differs from what the scheduler
knows, and saying it twice changes nothing. Where they differ, as while a new version is rolled out, what changed last
counts: a worker speaks up when something has changed for it or it has just started, not because another one thinks
otherwise. Nothing is remembered here that a restart would lose.
"""

import logging
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from appliance.config.model import Config
from appliance.dagfile.facts import Listing
from appliance.reconcile.declarations import unreadable, wanted
from appliance.temporal.orders import Known
from appliance.temporal.worker.repeating import repeating
from appliance.temporal.worker.site import Site

_LOG = logging.getLogger(__name__)
LOOK_S = 1.0
"""With two looks of the configuration's own watch, less than the two seconds people are promised."""
_MOST_S = 5.0
"""Between two looks while they fail."""
_AGAIN_S = 60.0
"""How often the scheduler is compared though nothing has changed here: somebody may have terminated it."""


class Reconciler:
    """One pass after another."""

    def __init__(self, site: Site) -> None:
        """Nothing has been looked at."""
        self._site = site
        self._seen: tuple[str, Config] | None = None
        self._passed_at = -math.inf
        self._problems: tuple[str, ...] | None = None
        """What was told last; None: nothing, whatever an earlier worker told."""

    async def look(self) -> None:
        """Make a pass if anything has changed since the last one, or that is long ago."""
        site = self._site
        folder = await site.folder()
        config = site.config
        now = (await folder.version(), config)
        has_changed = now != self._seen
        is_old = time.monotonic() - self._passed_at >= _AGAIN_S
        if not (has_changed or is_old):
            return
        if has_changed or await self._is_alone():
            await self._pass(await folder.listing(is_for_people=False), config)
        self._seen, self._passed_at = now, time.monotonic()

    async def _is_alone(self) -> bool:
        """Whether no other worker has told the scheduler something since, which may be what counts now."""
        known = await self._site.schedules.declared()
        if not known:
            return True
        by = next(iter(known.values())).by
        return await self._site.schedules.has_left(by)

    async def _pass(self, listing: Listing, config: Config) -> None:
        schedules = self._site.schedules
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


def _differs(known: Known | None, digest: str) -> bool:
    return known is None or known.digest != digest


@asynccontextmanager
async def reconciling(site: Site) -> AsyncIterator[None]:
    """Keep the scheduler in agreement with the folder and the configuration."""
    reconciler = Reconciler(site)

    async def look() -> float:
        await reconciler.look()
        return LOOK_S

    what = "the schedules could not be looked after"
    async with repeating(what, look, most_s=_MOST_S):
        yield
