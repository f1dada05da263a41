"""Pool of DAG zygotes: processes that have read one DAG file each, from which its tries are forked.

As many as the memory there is allows, and none that nobody has used for a while.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from appliance.config.machine_limits import Machine, memory_left
from appliance.dagfile.models import OpenFile
from appliance.errors import DagError
from appliance.forkserver.control import Zygote

_MOST = 16
_LEAST = 2
_BYTES_EACH = 14_000_000
"""What an idle one has for itself, most of it what the file imported."""
_SHARE = 16
"""The part of the memory all of them together may take: one in so many."""
_IDLE_S = 300.0
"""How long an idle zygote is kept while half of the memory is free; with less, only as long as its file is current."""
_PLENTY = 0.5
_RETIRE_AFTER_S = 5.0
"""Who was given an ``OpenFile`` has this long to fork from it once it has been replaced."""

Start = Callable[[], Coroutine[Any, Any, OpenFile]]


class LateError(DagError):
    """A file has not changed, and could not be read again in time."""


def most_held(machine: Machine) -> int:
    """Return how many files may be held open at once."""
    by_memory = machine.memory_bytes // (_SHARE * _BYTES_EACH)
    return max(_LEAST, min(_MOST, by_memory))


@dataclass(slots=True)
class _Held:
    """A file held open, or on its way there."""

    digest: str
    opened_at: float
    used_at: float
    opening: "asyncio.Task[OpenFile]"

    def opened(self) -> OpenFile | None:
        """Return what can still be forked from."""
        return self.opening.result() if self.opening.done() and self.is_usable else None

    @property
    def is_usable(self) -> bool:
        """Whether it is being opened, or was and can still be forked from."""
        if not self.opening.done():
            return True
        if self.opening.cancelled() or self.opening.exception() is not None:
            return False
        return not self.opening.result().zygote.closed.done()

    @property
    def is_idle(self) -> bool:
        """Whether nothing forked from it is running."""
        opened = self.opened()
        return opened is not None and not opened.zygote.is_busy


class DagZygotes:
    """Belongs to the event loop of its zygotes."""

    def __init__(
        self,
        *,
        max_age_s: float,
        most: int,
        clock: Callable[[], float],
        memory_left: Callable[[], float] = memory_left,
    ) -> None:
        """Hold none.

        Args:
            max_age_s: A file is read again when it was read so long ago.
            most: How many are held at once.
            clock: Monotonic seconds.
            memory_left: Gives the part of the memory that is free.
        """
        self._memory_left = memory_left
        self._max_age_s = max_age_s
        self._most = most
        self._clock = clock
        self._held: OrderedDict[str, _Held] = OrderedDict()

    def close(self) -> None:
        """End every process, and its tries."""
        for held in self._held.values():
            held.opening.add_done_callback(_close)
        self._held.clear()

    async def open(self, file: str, digest: str, start: Start) -> OpenFile:
        """Return a file as the folders with this digest have it, opened by ``start`` if it is not held.

        Raises:
            DagError: It cannot be opened.
        """
        held = self._held.get(file)
        now = self._clock()
        if (
            held is None
            or held.digest != digest
            or now - held.opened_at >= self._max_age_s
            or not held.is_usable
        ):
            opening = asyncio.create_task(self._replace(file, digest, start))
            opening.add_done_callback(_notice)
            held = self._held[file] = _Held(digest, now, now, opening)
        held.used_at = now
        self._held.move_to_end(file)
        while len(self._held) > self._most:
            self._drop(next(iter(self._held)))
        return await asyncio.shield(held.opening)

    def tidy(self) -> None:
        """Close zygotes that have been idle for a while."""
        if not self._held:
            return
        is_scarce = self._memory_left() < _PLENTY
        idle_s = self._max_age_s if is_scarce else max(_IDLE_S, self._max_age_s)
        oldest = self._clock() - idle_s
        for file, held in tuple(self._held.items()):
            if held.used_at <= oldest and held.is_idle:
                self._drop(file)

    def _replace(
        self, file: str, digest: str, start: Start
    ) -> Coroutine[Any, Any, OpenFile]:
        held = self._held.get(file)
        if held is None or held.digest != digest or (before := held.opened()) is None:
            self._drop(file)
            return start()
        return _renew(before, start)

    def _drop(self, file: str) -> None:
        """Close a zygote as soon as no caller can be about to fork from it."""
        held = self._held.pop(file, None)
        if held is not None:
            held.opening.add_done_callback(_retire)


async def _renew(before: OpenFile, start: Start) -> OpenFile:
    """Read a file again of which nothing has changed; when that takes too long, the one there is goes on."""
    try:
        opened = await start()
    except LateError:
        if not before.zygote.closed.done():
            return before
        raise
    except DagError:
        _retire_soon(before.zygote)
        raise
    _retire_soon(before.zygote)
    return opened


def _notice(opening: "asyncio.Task[OpenFile]") -> None:
    """Keep asyncio from complaining of an error whose every reader was cancelled."""
    if not opening.cancelled():
        opening.exception()


def _retire(opening: "asyncio.Task[OpenFile]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        _retire_soon(opening.result().zygote)


def _retire_soon(zygote: Zygote) -> None:
    asyncio.get_running_loop().call_later(_RETIRE_AFTER_S, zygote.retire)


def _close(opening: "asyncio.Task[OpenFile]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().zygote.close()
