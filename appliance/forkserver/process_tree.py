"""All processes that a process has started, also those that left its group or changed their parent.

Who adopts (``adopt_orphans``) becomes the parent of every process below it whose own parent has ended, so that no family
is lost sight of.
"""

import ctypes
import os
import signal
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """Have the kernel give this process its orphaned descendants; they are nobody's for ``init`` to keep.

    Not inherited by a fork, so every process that is forked for somebody asks for it itself: its orphans stay its own until
    it ends.
    """
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def signal_family(pid: int, number: int) -> None:
    """Signal a child that was not reaped yet, its group, and whom it started outside that."""
    # Looked up first: whose parent has ended is nobody's child any more.
    strays = list(_strays(pid, group=pid))
    for send in (os.killpg, os.kill) if os.getpgid(pid) != pid else (os.killpg,):
        # Nobody is left in the group, or it has ended.
        with suppress(ProcessLookupError):
            send(pid, number)
    for pidfd in strays:
        with suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(pidfd, number)
        os.close(pidfd)


def children(pid: int) -> Iterator[int]:
    """Yield the children of a process; none if the kernel keeps no such list."""
    with suppress(OSError):  # It ended meanwhile.
        for thread in (_PROC / str(pid) / "task").iterdir():
            yield from map(int, (thread / "children").read_text().split())


def kill_children(but: Collection[int] = ()) -> int:
    """Kill the children of this process; return how many there were. ``but``: pids of those to leave alone."""
    found = set(children(os.getpid())) - set(but)
    kill(found)
    return len(found)


def kill(pids: Iterable[int]) -> None:
    """Kill children of this process, and reap those that have ended."""
    for pid in pids:
        with suppress(OSError):  # It is no child any more, or a setuid program.
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, os.WNOHANG)


def _strays(pid: int, *, group: int) -> Iterator[int]:
    """Yield a pidfd of every descendant outside the group."""
    for child in children(pid):
        with suppress(ProcessLookupError):
            if os.getpgid(child) != group:
                yield os.pidfd_open(child)
        yield from _strays(child, group=group)
