"""The processes a child has started: those of its group, and those that left it (``setsid``).

Not found is who was orphaned before anybody looked, by a double fork: that is what daemons are for.
"""

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


def signal_family(pid: int, number: int) -> list[int]:
    """Signal a child that was not reaped yet, its group, and whom it started outside that.

    Returns:
        A pidfd of each of the last; the caller closes them.
    """
    # Looked up first: whose parent has ended is nobody's child any more.
    strays = list(_strays(pid, group=pid))
    for send in (os.killpg, os.kill) if os.getpgid(pid) != pid else (os.killpg,):
        # Nobody is left in the group, or it has ended.
        with suppress(ProcessLookupError):
            send(pid, number)
    _signal_each(strays, number)
    return strays


def end_family(pid: int, strays: Iterable[int]) -> None:
    """Kill what is left of the family of a child that ended and was not reaped yet."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    _signal_each(strays, signal.SIGKILL)
    for pidfd in strays:
        os.close(pidfd)


def _signal_each(pidfds: Iterable[int], number: int) -> None:
    for pidfd in pidfds:
        with suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(pidfd, number)


def _strays(pid: int, *, group: int) -> Iterator[int]:
    """Yield a pidfd of every descendant outside the group."""
    for child in _children(pid):
        with suppress(ProcessLookupError):
            if os.getpgid(child) != group:
                yield os.pidfd_open(child)
        yield from _strays(child, group=group)


def _children(pid: int) -> Iterator[int]:
    with suppress(OSError):  # It ended meanwhile, or the kernel keeps no such list.
        for thread in (_PROC / str(pid) / "task").iterdir():
            yield from map(int, (thread / "children").read_text().split())
