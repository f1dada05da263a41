"""Running tries that hold an unrequested slot of ``default_pool``, told to request it when it becomes scarce.

When it may run out (a worker has come, the pool was made smaller) such a try is sent back before it begins, and its run
is told to ask from now on; so is every run some of whose tries go on here.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from temporalio.client import Client
from temporalio.service import RPCError

from appliance.pools.contention import WorkerCapacity
from appliance.pools.messages import SCARCE_SIGNAL
from appliance.temporal.messages import PoolFacts

_LOOK_S = 10.0


class Exemption:
    """Those of one worker."""

    def __init__(self, client: Client, capacity: WorkerCapacity) -> None:
        """None runs yet."""
        self._client = client
        self._capacity = capacity
        self._running: Counter[str] = Counter()
        """By workflow id."""
        self._told: set[str] = set()
        """Of those, whose runs have been told."""
        self._telling: dict[str, asyncio.Task[None]] = {}
        self._watching: asyncio.Task[None] | None = None

    async def holds(self, workflow: str) -> bool:
        """Tell whether a try of this run may begin; if not, its run has been told to ask."""
        scarce = await self._capacity.scarce()
        if scarce:
            await self._tell(workflow, scarce)
        return not scarce

    @contextmanager
    def running(self, workflow: str) -> Iterator[None]:
        """Keep an eye on a try while it runs."""
        self._running[workflow] += 1
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            self._running[workflow] -= 1
            if not self._running[workflow]:
                del self._running[workflow]
                self._told.discard(workflow)

    async def _watch(self) -> None:
        """Look now and then, as long as one runs."""
        while self._running:
            await asyncio.sleep(_LOOK_S)
            if scarce := await self._capacity.scarce(counted_s=_LOOK_S / 2):
                for workflow in self._running.keys() - self._told:
                    self._told.add(workflow)
                    await self._tell(workflow, scarce)

    async def _tell(self, workflow: str, scarce: dict[str, PoolFacts]) -> None:
        """Tell a run, once for all its tries that wait for this."""
        telling = self._telling.get(workflow)
        if telling is None:
            telling = asyncio.create_task(self._signal(workflow, scarce))
            self._telling[workflow] = telling
            telling.add_done_callback(lambda _: self._telling.pop(workflow, None))
        await asyncio.wait((telling,))

    async def _signal(self, workflow: str, scarce: dict[str, PoolFacts]) -> None:
        handle = self._client.get_workflow_handle(workflow)
        # One that has ended asks nothing; whoever was not reached tries the next time.
        with suppress(RPCError):
            await handle.signal(SCARCE_SIGNAL, scarce)
