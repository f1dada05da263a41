"""A program that calls ``submit_dag``, with threads of the SDK that are slow to leave Python.

A thread that finds its call cancelled never shows, however slow; the process would not end well then, sometimes.
The first argument is the DAG id, the second the seconds to wait for the end of the run. Prints how that went, and the
ids of threads that are still in Python then but ours.
"""

import asyncio
import sys
import threading
import time
from asyncio import Handle, SelectorEventLoop
from collections.abc import Callable
from contextvars import Context
from typing import TypeVarTuple

import appliance
from appliance.errors import ApplianceError

_Ts = TypeVarTuple("_Ts")
_SLOW_S = 0.2


class SlowLoop(SelectorEventLoop):
    """Who hands something over stays for a while."""

    def call_soon_threadsafe(
        self,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> Handle:
        """Do it, and be slow to return."""
        handle = super().call_soon_threadsafe(callback, *args, context=context)
        time.sleep(_SLOW_S)
        return handle


async def _submit(dag_id: str, timeout_s: float) -> None:
    try:
        report = await appliance.submit_dag(dag_id, wait=True, timeout_s=timeout_s)
        said = str(report.state)
    except ApplianceError as err:
        said = type(err).__name__
    left = sys._current_frames().keys() - {threading.get_ident()}
    sys.stdout.write(f"{said} {left or 'none'}\n")


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=SlowLoop) as runner:
        runner.run(_submit(sys.argv[1], float(sys.argv[2])))
