"""A loop in the background that reports an error once and goes on.

Every loop that looks after something beside runs and tries is one of these, so that none ends without a word.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from temporalio.exceptions import TemporalError

from appliance.errors import ApplianceError
from appliance.forkserver.control import ForkError, ZygoteLostError

_LOG = logging.getLogger(__name__)
_FIRST_S = 1.0
_MOST_S = 60.0
_FROM_OUTSIDE = (ApplianceError, OSError, TemporalError, ForkError, ZygoteLostError)
"""What a disk, a server or a process may do at any time; anything else is a bug, and keeps its traceback."""

Look = Callable[[], Awaitable[float]]
"""Does the work once; returns after how many seconds it is to be done again."""


@asynccontextmanager
async def repeating(
    what: str, look: Look, *, most_s: float = _MOST_S
) -> AsyncIterator[None]:
    """Do work now and again and again, until the block is left.

    Args:
        what: What is amiss when it fails, as in "old logs could not be deleted".
        look: The work.
        most_s: How long to wait at most after failures; the first waits are a second, two, four.
    """
    task = asyncio.create_task(_repeat(what, look, most_s))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _repeat(what: str, look: Look, most_s: float) -> None:
    said, failures = "", 0
    while True:
        try:
            pause_s = await look()
        except Exception as err:  # one that ended silently would be missed by nobody
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # The SDK makes an error of its own of it.
                raise asyncio.CancelledError from err
            pause_s = min(most_s, _FIRST_S * 2 ** min(failures, 16))
            failures += 1
            text = f"{what}: {str(err) or type(err).__name__}"
            if text != said:
                said = text
                bug = None if isinstance(err, _FROM_OUTSIDE) else err
                _LOG.warning("%s; trying again", said, exc_info=bug)
        else:
            if said:
                _LOG.warning("no longer: %s", what)
            said, failures = "", 0
        await asyncio.sleep(pause_s)
