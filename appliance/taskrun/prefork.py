"""Children forked ahead of need, which wait for a try to run.

A fork of a large process and the set-up after it take longer than an empty task. Such children belong to
the zygote they came from and end with it; only the zygotes used last keep any, and none does when no try
has come for a while: each takes some 10 MB.
"""

import asyncio
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

from appliance.forkserver.control import Child, ForkError, Zygote, ZygoteLostError
from appliance.taskrun.channels import Channels, open_channels

_ENTRY = "appliance.taskrun.child:run_task"
_IDLE_S = 5.0


@dataclass(frozen=True, slots=True)
class PreforkedChild:
    """A child that waits for its orders, and our side of its channels."""

    child: Child
    channels: Channels

    def discard(self) -> None:
        """Let it end: without a control channel it has nothing to wait for."""
        self.channels.close()


class PreforkedChildren:
    """The waiting children of one worker."""

    def __init__(
        self, *, each: int = 2, zygotes: int = 2, idle_s: float = _IDLE_S
    ) -> None:
        """Keep ``each`` children waiting in the ``zygotes`` used last, for ``idle_s``. 0 forks on demand."""
        self._each = each
        self._zygotes = zygotes
        self._idle_s = idle_s
        self._rest: asyncio.TimerHandle | None = None
        self._waiting: OrderedDict[Zygote, deque[PreforkedChild]] = OrderedDict()
        self._followed: WeakSet[Zygote] = WeakSet()
        """Those whose children are dropped when they retire."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._refilling: set[Zygote] = set()

    async def take(self, zygote: Zygote) -> PreforkedChild:
        """Return a child of this zygote that has not been given anything yet.

        Raises:
            ForkError: The kernel refused another process.
            ZygoteLostError: The zygote died.
        """
        waiting = self._waiting.get(zygote)
        while waiting:
            prepared = waiting.popleft()
            if prepared.child.is_running:
                return prepared
            prepared.discard()
        return await _prepare(zygote, is_ahead=False)

    def refill(self, zygote: Zygote) -> None:
        """Fork what is missing, one by one, in the background: a try of this zygote has ended, or is to come."""
        if not self._each or zygote.retired.done():
            return
        if self._rest is not None:
            self._rest.cancel()
        self._rest = asyncio.get_running_loop().call_later(self._idle_s, self._sleep)
        if zygote not in self._refilling:
            self._refilling.add(zygote)
            self.keep(self._fill(zygote))

    def keep(self, work: Any) -> None:
        """Run a coroutine in the background; ``close`` waits for it."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Let all waiting children go and wait for what is left to do for tries that have ended."""
        self._each = 0
        if self._rest is not None:
            self._rest.cancel()
        self._let_go()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _fill(self, zygote: Zygote) -> None:
        try:
            waiting = self._queue(zygote)
            while len(waiting) < self._each and not zygote.retired.done():
                prepared = await _prepare(zygote, is_ahead=True)
                if self._waiting.get(zygote) is not waiting:
                    prepared.discard()
                    return
                waiting.append(prepared)
        except (ForkError, ZygoteLostError):
            self._drop(zygote)  # The next try will say so.
        finally:
            self._refilling.discard(zygote)

    def _queue(self, zygote: Zygote) -> deque[PreforkedChild]:
        if zygote not in self._waiting:
            self._waiting[zygote] = deque()
        if zygote not in self._followed:
            self._followed.add(zygote)
            zygote.retired.add_done_callback(lambda _: self._drop(zygote))
        self._waiting.move_to_end(zygote)
        while len(self._waiting) > self._zygotes:
            self._drop(next(iter(self._waiting)))
        return self._waiting[zygote]

    def _sleep(self) -> None:
        """Let all go: no try has come for a while. What is being forked has been waited for first."""
        if self._refilling:
            self._rest = asyncio.get_running_loop().call_later(
                self._idle_s, self._sleep
            )
        else:
            self._let_go()

    def _let_go(self) -> None:
        for zygote in tuple(self._waiting):
            self._drop(zygote)

    def _drop(self, zygote: Zygote) -> None:
        for prepared in self._waiting.pop(zygote, ()):
            prepared.discard()


async def _prepare(zygote: Zygote, *, is_ahead: bool) -> PreforkedChild:
    ours, theirs = open_channels()
    try:
        child = await zygote.fork(_ENTRY, {}, theirs.fds(), is_ahead=is_ahead)
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return PreforkedChild(child, ours)
