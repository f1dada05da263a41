"""The tries that this worker runs, which outlive the activities that report them.

The worker owns a try; the activity is only a lease on it. When the lease runs out while both server and worker slept (a
paused container, a closed lid), the try goes on here and the workflow asks for it again.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from appliance.dagrun.attempt import ActivityTaskInput, TaskExecutionResult

_TOGETHER_S = 0.25
"""How long an end is held back at most, so that others come along."""
_TOLD_PER_SLOT = 2
_TOLD = 32
"""How many ends are kept after they were reported; a worker takes somewhat more tries than it has slots."""
_KEEP_S = 120.0
"""How long an unclaimed try, or its result, is kept for a workflow that asks again."""

Runner = Callable[[ActivityTaskInput], Awaitable[TaskExecutionResult]]


@dataclass(slots=True)
class _Held:
    task: asyncio.Task[TaskExecutionResult]
    has_begun: bool = False
    is_unwanted: bool = False
    """Its run wants no more of it; the word comes with the next heartbeat."""
    leases: int = 0
    expiry: asyncio.TimerHandle | None = None


class RunningAttempts:
    """Tries by their id (``ActivityTaskInput.ti_id``)."""

    def __init__(self, runner: Runner, *, parallelism: int) -> None:
        """``parallelism``: how many tries run at once; the others wait here."""
        self._runner = runner
        self._slots = asyncio.Semaphore(parallelism)
        self._held: dict[str, _Held] = {}
        self._told: OrderedDict[str, asyncio.Task[TaskExecutionResult]] = OrderedDict()
        self._most_told = _TOLD_PER_SLOT * parallelism + _TOLD
        self._waiting = 0
        self._few = max(1, parallelism // 4)
        self._batch: asyncio.Future[None] | None = None

    async def together(self) -> None:
        """While enough tries wait for slots, let several end together.

        Their slots are taken again at once, so nothing waits for it, and the run hears of them in one workflow task
        instead of one each: a fan-out of empty tasks takes a third less time.
        """
        if self._waiting <= self._few:
            return
        if self._batch is None:
            loop = asyncio.get_running_loop()
            self._batch = loop.create_future()
            loop.call_later(_TOGETHER_S, self._release, self._batch)
        await asyncio.shield(self._batch)

    def _release(self, batch: asyncio.Future[None]) -> None:
        if not batch.done():
            batch.set_result(None)
        if self._batch is batch:
            self._batch = None

    def open(
        self, task: ActivityTaskInput, on_begin: Callable[[], None]
    ) -> asyncio.Task[TaskExecutionResult]:
        """Start the try as soon as there is a slot, or take hold of the one that is running."""
        held = self._held.get(task.ti_id)
        if held is None:
            running = asyncio.create_task(self._run(task, on_begin))
            held = self._held[task.ti_id] = _Held(running)
        return self._take(held)

    def has_begun(self, ti_id: str) -> bool:
        """Whether the try got a slot."""
        held = self._held.get(ti_id)
        return held is not None and held.has_begun

    def hold_back(self, ti_id: str) -> None:
        """Give no slot to a try any more: it is about to be closed."""
        if held := self._held.get(ti_id):
            held.is_unwanted = True

    def reopen(self, ti_id: str) -> asyncio.Task[TaskExecutionResult] | None:
        """Take hold of a try that is still here, or of how it ended if that may not have been heard; None: it is gone."""
        if held := self._held.get(ti_id):
            return self._take(held)
        return self._told.get(ti_id)

    def close(self, ti_id: str) -> bool:
        """Give the lease back, the result reported or not wanted; tell whether it was the last one."""
        if held := self._held.get(ti_id):
            held.leases -= 1
            if held.leases > 0:
                return False
            del self._held[ti_id]
            if held.task.done():
                self._remember(ti_id, held.task)
        return True

    def _remember(self, ti_id: str, ended: asyncio.Task[TaskExecutionResult]) -> None:
        """Keep how a try ended: a server that is down may not hear of it, and asks when it is back.

        While it is down no try is handed out, so the last few are all that can have gone unheard.
        """
        self._told[ti_id] = ended
        if len(self._told) > self._most_told:
            self._told.popitem(last=False)

    def abandon(self, ti_id: str) -> None:
        """Give the lease back without reporting: someone may ask again, for a while."""
        if held := self._held.get(ti_id):
            held.leases -= 1
            if held.leases <= 0:
                loop = asyncio.get_running_loop()
                held.expiry = loop.call_later(_KEEP_S, self.expire, ti_id)

    def is_unclaimed(self, ti_id: str) -> bool:
        """Whether the try was abandoned, and nobody has asked again."""
        held = self._held.get(ti_id)
        return held is not None and held.expiry is not None

    def expire(self, ti_id: str) -> None:
        """Stop a try that nobody asks for any more."""
        if held := self._held.pop(ti_id, None):
            held.task.cancel()

    def _take(self, held: _Held) -> asyncio.Task[TaskExecutionResult]:
        held.leases += 1
        if held.expiry:
            held.expiry.cancel()
            held.expiry = None
        return held.task

    async def _run(
        self, task: ActivityTaskInput, on_begin: Callable[[], None]
    ) -> TaskExecutionResult:
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        if (held := self._held.get(task.ti_id)) and held.is_unwanted:
            self._slots.release()
            await asyncio.Event().wait()  # until it is closed, and this cancelled
        try:
            if self._batch is not None and self._waiting <= self._few:
                self._release(self._batch)
            if held is not None:
                held.has_begun = True
            on_begin()
            return await self._runner(task)
        finally:
            self._slots.release()
