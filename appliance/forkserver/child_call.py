"""Call of one function in a child of a zygote, with argument and result as JSON in a memfd.

What is called may be a user's code, which hangs: every call has a time limit, and is killed with whatever it has
started when that is over, or when nobody waits for it any more.
"""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from appliance.forkserver import frames
from appliance.forkserver.control import Zygote


async def send(
    zygote: Zygote,
    entry: str,
    given: Any,
    *,
    limit_s: float,
    answer_it: frames.Answer | None = None,
) -> Any:
    """Have a child call ``entry``, which does its work with ``answer``; return what that returned.

    Args:
        zygote: What the child is forked from.
        entry: Where it begins, as ``package.module:function``.
        given: Its argument.
        limit_s: How long it may take before it is killed.
        answer_it: Answers its questions, which it asks over its second descriptor.

    Raises:
        ChildProcessError: The child failed, or took too long.
        ForkError: The kernel refused a process.
        ZygoteLostError: The zygote died.
    """
    name = entry.rpartition(":")[2]
    with os.fdopen(os.memfd_create(name), "r+b") as paper:
        paper.write(json.dumps(given).encode())
        paper.seek(0)
        async with _answering(answer_it) as questions:
            child = await zygote.fork(entry, {}, [paper.fileno(), *questions])
            try:
                async with asyncio.timeout(limit_s):
                    ended = await child.exited()
            except TimeoutError:
                text = f"{name} took more than {limit_s:g} s and was killed"
                raise ChildProcessError(text) from None
            finally:
                child.kill(signal.SIGKILL)
        if ended.code != 0:
            raise ChildProcessError(f"{name} ended with {ended.code}, see the log")
        paper.seek(0)
        return json.load(paper)


@asynccontextmanager
async def _answering(answer_it: frames.Answer | None) -> AsyncIterator[list[int]]:
    """Answer questions that come over the descriptor this yields; it yields none if nobody answers."""
    if answer_it is None:
        yield []
        return
    ours, theirs = socket.socketpair()
    ours.setblocking(False)  # noqa: FBT003 - the standard library's signature
    with ours, theirs:
        async with frames.answering(ours, answer_it):
            yield [theirs.fileno()]


def answer(fd: int, work: Callable[[Any], Any]) -> None:
    """In the child: do the work and write down what came of it."""
    with os.fdopen(fd, "r+b") as paper:
        written = json.dumps(work(json.load(paper))).encode()
        paper.seek(0)
        paper.truncate()
        paper.write(written)
