"""Memory layout of a zygote, for cheap forks and few page faults in children.

All of it is advice to the kernel: where it is not taken, everything works as before, only slower.
"""

import array
import ctypes
import errno
import gc
import mmap
from collections.abc import Iterator
from pathlib import Path

_PAGE_BYTES = mmap.PAGESIZE
_HUGE_BYTES = 2 << 20
_MADV_POPULATE_WRITE = 23
_MADV_COLLAPSE = 25
_CANNOT = frozenset((errno.EINVAL, errno.ENOSYS, errno.EPERM))
_MAPS = Path("/proc/self/maps")
_PAGEMAP = Path("/proc/self/pagemap")
_PRESENT = 1 << 63
_EXCLUSIVE = 1 << 56
_ENTRY_BYTES = 8


def freeze() -> None:
    """Keep the collector of every child away from what exists now, so its pages stay shared."""
    gc.collect()
    gc.freeze()


def use_huge_pages() -> None:
    """Move this process's heap into huge pages.

    A fork copies one entry for each instead of 512, and the child's end drops as many; what a
    child writes to is still copied by 4 kB. On a kernel before 6.1 nothing happens.
    """
    for begin, end in _heap():
        first = -(-begin // _HUGE_BYTES) * _HUGE_BYTES
        for address in range(first, end - _HUGE_BYTES + 1, _HUGE_BYTES):
            if _advise(address, _HUGE_BYTES, _MADV_COLLAPSE) in _CANNOT:
                return


class Footprints:
    """Where in memory the children of one zygote write: one child leaves it, others read it.

    Every first write to a page after a fork is a trap into the kernel and a copy, some two
    thousand in an empty task. A child forked ahead of need takes them while it waits.
    """

    MOST_PAGES = 4096
    """A child that wrote to more is no example for others."""

    def __init__(self) -> None:
        # Shared over fork. Entry 0 counts the others: address + number of pages, which is < 4096.
        self._shared = mmap.mmap(-1, (1 + self.MOST_PAGES) * _ENTRY_BYTES)
        self._entries = memoryview(self._shared).cast("Q")

    def follow(self) -> None:
        """Make the pages an earlier child wrote to this process's own."""
        for entry in self._entries[1 : 1 + self._entries[0]]:
            pages = entry % _PAGE_BYTES
            _advise(entry - pages, pages * _PAGE_BYTES, _MADV_POPULATE_WRITE)

    def leave(self) -> None:
        """Tell those that come later where this process has written to, unless one did."""
        if self._entries[0]:
            return
        runs = list(_own_runs())
        if sum(run % _PAGE_BYTES for run in runs) <= self.MOST_PAGES:
            self._entries[1 : 1 + len(runs)] = array.array("Q", runs)
            self._entries[0] = len(runs)


def _own_runs() -> Iterator[int]:
    """Yield the runs of heap pages that no other process shares: address + number of pages."""
    with _PAGEMAP.open("rb", buffering=0) as pagemap:
        for begin, end in _heap():
            pagemap.seek(begin // _PAGE_BYTES * _ENTRY_BYTES)
            pages = array.array("Q")
            pages.frombytes(pagemap.read((end - begin) // _PAGE_BYTES * _ENTRY_BYTES))
            run = 0
            for number, page in enumerate((*pages, 0)):
                if page & _PRESENT and page & _EXCLUSIVE and run < _PAGE_BYTES - 1:
                    run += 1
                elif run:
                    yield begin + (number - run) * _PAGE_BYTES + run
                    run = 0


def _heap() -> Iterator[tuple[int, int]]:
    """Yield begin and end of the private anonymous memory a program writes to."""
    for line in _MAPS.read_text().splitlines():
        where, access, _offset, _device, _inode, *name = line.split()
        if access == "rw-p" and name in ([], ["[heap]"]):
            begin, end = where.split("-")
            yield int(begin, 16), int(end, 16)


def _advise(address: int, size_bytes: int, advice: int) -> int:
    """Call madvise; return 0 or the error's number."""
    if _madvise(address, size_bytes, advice):
        return ctypes.get_errno()
    return 0


_madvise = ctypes.CDLL(None, use_errno=True).madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
