"""How the zygote's memory is laid out, so that forking it is cheap."""

import ctypes
import errno
from collections.abc import Iterator
from pathlib import Path

_HUGE_BYTES = 2 << 20
_MADV_COLLAPSE = 25
_MAPS = Path("/proc/self/maps")
_NAMELESS = 5
_CANNOT = frozenset((errno.EINVAL, errno.ENOSYS, errno.EPERM))


def use_huge_pages() -> int:
    """Move this process's heap into huge pages; return how many there are now.

    A fork copies one entry for each instead of 512, and the child's end drops as many; what a
    child writes to is still copied by 4 kB. On a kernel before 6.1 nothing happens.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    collapsed = 0
    for address in _heap():
        failed = libc.madvise(ctypes.c_void_p(address), _HUGE_BYTES, _MADV_COLLAPSE)
        if failed and ctypes.get_errno() in _CANNOT:
            break
        collapsed += not failed
    return collapsed


def _heap() -> Iterator[int]:
    """Yield the addresses of the whole huge pages that fit into private anonymous memory."""
    for line in _MAPS.read_text().splitlines():
        where, access, *rest = line.split()
        name = rest[_NAMELESS - 2 :]
        if access != "rw-p" or name not in ([], ["[heap]"]):
            continue
        begin, end = (int(address, 16) for address in where.split("-"))
        first = -(-begin // _HUGE_BYTES) * _HUGE_BYTES
        yield from range(first, end - _HUGE_BYTES + 1, _HUGE_BYTES)
