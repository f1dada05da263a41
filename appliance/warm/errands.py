"""Errands: a function called in a child of a zygote, its argument and its result as JSON in a memfd."""

import json
import os
from collections.abc import Callable
from typing import Any

from appliance.warm.control import Zygote


async def send(zygote: Zygote, entry: str, given: Any) -> Any:
    """Have a child call ``entry``, which does its work with ``answer``; return what that returned.

    Raises:
        ChildProcessError: The child failed.
        ForkError: The kernel refused a process.
        ZygoteLostError: The zygote died.
    """
    name = entry.rpartition(":")[2]
    with os.fdopen(os.memfd_create(name), "r+b") as paper:
        paper.write(json.dumps(given).encode())
        paper.seek(0)
        child = await zygote.fork(entry, {}, [paper.fileno()])
        ended = await child.exited()
        if ended.code != 0:
            raise ChildProcessError(f"{name} ended with {ended.code}, see the log")
        paper.seek(0)
        return json.load(paper)


def answer(fd: int, work: Callable[[Any], Any]) -> None:
    """In the child: do the work and write down what came of it."""
    with os.fdopen(fd, "r+b") as paper:
        written = json.dumps(work(json.load(paper))).encode()
        paper.seek(0)
        paper.truncate()
        paper.write(written)
