"""Cleanup of the processes that a dead process left behind and that the kernel gave to this one.

They get a moment to end by themselves, as they may have something left to write; then SIGTERM, then SIGKILL.
"""

import os
import select
import signal
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass

from appliance.forkserver import process_tree

_FIRST_S = 1.0
"""Output of a try is taken for as long after its end."""
_LAST_S = 2.0
_STEPS = ((signal.SIGTERM, _LAST_S), (signal.SIGKILL, None))


@dataclass(slots=True)
class _Orphan:
    pid: int
    step: int
    due_at: float | None
    """When the next signal is due; None: none is left."""


class Orphans:
    """The adopted children of this process, by pidfd."""

    def __init__(self, poller: select.poll) -> None:
        """Spare the children there are now; ``poller`` is told of all others."""
        self._poller = poller
        self._spared = frozenset(process_tree.children(os.getpid()))
        self._orphans: dict[int, _Orphan] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._orphans)

    def __iter__(self) -> Iterator[int]:
        """Yield their pidfds."""
        return iter(self._orphans)

    def __contains__(self, pidfd: int) -> bool:
        """Whether it is one of them."""
        return pidfd in self._orphans

    def find(self, known: Collection[int], *, at_once: bool = False) -> None:
        """Take charge of every child that is not known.

        Args:
            known: Pids of children that were forked on purpose.
            at_once: Whether they get no time to end by themselves.
        """
        strangers = set(process_tree.children(os.getpid())) - self._spared - set(known)
        for pid in strangers - {orphan.pid for orphan in self._orphans.values()}:
            pidfd = os.pidfd_open(pid)
            self._poller.register(pidfd, select.POLLIN)
            first = _Orphan(pid, 0, time.monotonic() + _FIRST_S)
            self._orphans[pidfd] = first
            if at_once:
                first.step = len(_STEPS) - 1
                self._next(pidfd)

    def end(self) -> None:
        """Give none of them any more time."""
        for pidfd, orphan in self._orphans.items():
            if orphan.due_at is not None:
                orphan.step = len(_STEPS) - 1
                self._next(pidfd)

    def patience_ms(self) -> int | None:
        """Return how long there is nothing to do; None: until something happens."""
        due = [one.due_at for one in self._orphans.values() if one.due_at is not None]
        if not due:
            return None
        return max(0, int((min(due) - time.monotonic()) * 1000) + 1)

    def remind(self) -> None:
        """Signal those whose time is up."""
        now = time.monotonic()
        for pidfd, orphan in self._orphans.items():
            if orphan.due_at is not None and orphan.due_at <= now:
                self._next(pidfd)

    def bury(self, pidfd: int) -> None:
        """Take note that one has ended."""
        orphan = self._orphans.pop(pidfd)
        self._poller.unregister(pidfd)
        os.close(pidfd)
        with suppress(ChildProcessError):
            os.waitpid(orphan.pid, 0)

    def _next(self, pidfd: int) -> None:
        orphan = self._orphans[pidfd]
        number, next_s = _STEPS[orphan.step]
        # Its children are given to us when it has ended; a setuid program may not be told.
        with suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(pidfd, number)
        orphan.step += 1
        orphan.due_at = None if next_s is None else time.monotonic() + next_s


class Suspects:
    """The children of a process in which many work at once: each is killed when nobody is left who may have started it."""

    def __init__(self) -> None:
        """Spare the children there are now."""
        self._spared = frozenset(process_tree.children(os.getpid()))
        self._owners: dict[int, frozenset[int]] = {}

    def look(self, working: Collection[int]) -> None:
        """Look at the children there are while these are at work."""
        now = frozenset(working)
        found = set(process_tree.children(os.getpid())) - self._spared
        self._owners = {pid: self._owners.get(pid, now) & now for pid in found}
        process_tree.kill(pid for pid, owners in self._owners.items() if not owners)
