"""Scan of the DAG folder in its own thread, so that a file system that hangs blocks nothing else.

One look at a time; who asks while one goes on waits for the next, as what was saved meanwhile may have been passed. When
there is no answer in time, or the folder is not there, the last good look counts, and why is told.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from appliance.dagfile.file_stamps import FolderStamps
from appliance.errors import DagError

_T = TypeVar("_T")
PATIENCE_S = 10.0


class FolderScan:
    """The last good look at some folders. Belongs to the event loop it is used in."""

    def __init__(
        self,
        look: Callable[[float], FolderStamps],
        *,
        clock: Callable[[], float],
        patience_s: float = PATIENCE_S,
    ) -> None:
        """Nothing is looked at yet.

        Args:
            look: Takes the time and looks; may take long.
            clock: Monotonic seconds.
            patience_s: How long anybody waits for it.
        """
        self._look = look
        self._clock = clock
        self._patience_s = patience_s
        self._good: FolderStamps | None = None
        self._tried_at = -float("inf")
        self._begun = 0
        self._ended = 0
        self._looking: asyncio.Task[None] | None = None
        self.trouble: str | None = None
        """Why there is no look at the folder as it is now."""

    async def look(self, max_age_s: float) -> FolderStamps | None:
        """Return the last good look, which is at most so old unless there is a ``trouble``; None: there was none."""
        if self._clock() - self._tried_at < max_age_s:
            return self._good
        wanted = self._begun + 1
        try:
            async with asyncio.timeout(self._patience_s):
                while self._ended < wanted:
                    await asyncio.shield(self._going_on())
        except TimeoutError:
            self.trouble = f"has not answered for {self._patience_s:g} s; a network file system may hang"
        return self._good

    def _going_on(self) -> "asyncio.Task[None]":
        """Return the look that goes on; begin one if none does."""
        if self._looking is None:
            self._begun += 1
            self._looking = asyncio.create_task(self._look_once(self._clock()))
        return self._looking

    async def _look_once(self, now: float) -> None:
        # What it finds is known before it is done: whoever comes in between would wait for what has ended, and never yield.
        try:
            walk = await in_thread(lambda: self._look(now))
        finally:
            self._looking = None
            self._ended = self._begun
        self._tried_at = walk.taken_at
        self.trouble = walk.absent
        if walk.absent is None:
            self._good = walk


async def in_time(work: Callable[[], _T], *, patience_s: float = PATIENCE_S) -> _T:
    """Do something with files in a thread of its own.

    Raises:
        DagError: It takes too long.
    """
    try:
        async with asyncio.timeout(patience_s):
            return await in_thread(work)
    except TimeoutError:
        text = f"a file of the DAG folder has not answered for {patience_s:g} s"
        raise DagError(text) from None


def in_thread(work: Callable[[], _T]) -> "asyncio.Future[_T]":
    """Begin something in a thread that keeps neither others nor the end of the process waiting."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def settle(set_it: Callable[[], None]) -> None:
        if not future.done():
            set_it()

    def run() -> None:
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - handed on to who waits
            failure = error
            end = lambda: future.set_exception(failure)  # noqa: E731
        else:
            end = lambda: future.set_result(result)  # noqa: E731
        with suppress(RuntimeError):  # The loop has ended.
            loop.call_soon_threadsafe(settle, end)

    threading.Thread(target=run, name="dag-folder", daemon=True).start()
    return future
