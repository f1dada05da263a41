"""Waits for threads of the Temporal SDK to leave Python before the interpreter ends.

They hand each answer to the event loop from within Python, and are still there when the answer has arrived. If the
interpreter ends in that moment, the process crashes or hangs (https://github.com/temporalio/sdk-python/issues/300).
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import FrameType

_HANDS_OVER = "call_soon_threadsafe"
_TURN_S = 0.001
_LIMIT_S = 1.0
_CANCELLED_S = 0.2
"""A thread that only finds its call cancelled cannot be seen: it has time, usually a hundred times what it needs."""


@asynccontextmanager
async def parting() -> AsyncIterator[None]:
    """Wait in the end until the answers to what was asked of the SDK here are handed over."""
    try:
        yield
    except GeneratorExit:  # Thrown away by a caller who may have no event loop.
        raise
    except BaseException:
        await asyncio.sleep(_CANCELLED_S)
        await _handed_over()
        raise
    await _handed_over()


async def _handed_over() -> None:
    deadline = time.monotonic() + _LIMIT_S
    inside = _inside()
    while inside and time.monotonic() < deadline:
        await asyncio.sleep(_TURN_S)
        inside &= _inside()


def _inside() -> set[int]:
    """Return the ids of threads that are in Python only to hand something to an event loop."""
    return {
        thread
        for thread, frame in sys._current_frames().items()  # noqa: SLF001 - documented
        if _outermost(frame) == _HANDS_OVER
    }


def _outermost(frame: FrameType) -> str:
    while frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code.co_name
