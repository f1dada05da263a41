"""The least Temporal can do: a workflow of no-op activities, one after the other.

Run as a program it is the worker: ``python -m tests.bench.bare ADDRESS``.
"""

import asyncio
import signal
import sys
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

QUEUE = "bare"
WORKFLOW = "BareChain"
SLOTS = 21
"""Activity slots of the appliance's worker at 8 tries at once."""


@activity.defn
async def nothing() -> None:
    """Do nothing."""


@workflow.defn(name=WORKFLOW)
class BareChain:
    """One no-op activity after the other."""

    @workflow.run
    async def run(self, length: int) -> None:
        """Run ``length`` of them."""
        for _ in range(length):
            await workflow.execute_activity(
                nothing, start_to_close_timeout=timedelta(seconds=10)
            )


async def _work(address: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    client = await Client.connect(address)
    worker = Worker(
        client,
        task_queue=QUEUE,
        workflows=[BareChain],
        activities=[nothing],
        max_concurrent_activities=SLOTS,
    )
    async with worker:
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(_work(sys.argv[1]))
