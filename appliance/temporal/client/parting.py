"""Lets threads of the Temporal SDK leave Python before the interpreter may end.

They hand each answer to the event loop from within Python, and are still there when the answer has arrived. If the
interpreter ends in that moment, the process crashes (https://github.com/temporalio/sdk-python/issues/300).
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType

_HANDS_OVER = "call_soon_threadsafe"
_TURN_S = 0.001


@asynccontextmanager
async def parting() -> AsyncIterator[None]:
    """Wait in the end until what was asked of the SDK here is over."""
    try:
        yield
    finally:
        # What was cancelled is taken note of by a thread, too.
        await asyncio.sleep(_TURN_S)
        inside = _inside()
        while inside:
            await asyncio.sleep(_TURN_S)
            inside &= _inside()


def _inside() -> set[int]:
    """Return the ids of threads that were not started by Python and hand something to an event loop."""
    frames = sys._current_frames()  # noqa: SLF001 - documented
    return {
        thread for thread, frame in frames.items() if _outermost(frame) == _HANDS_OVER
    }


def _outermost(frame: FrameType) -> str:
    while frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code.co_name
