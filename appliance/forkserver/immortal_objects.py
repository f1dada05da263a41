"""Objects without reference counts, so that a child does not copy a page by using what is on it.

A fork shares its parent's pages until somebody writes to them, and counting references writes to every object that is
looked at: half of the pages a child has to copy. From Python 3.12 an object can be immortal, which keeps its count as
it is (PEP 683, made for this). What is immortal is never freed and has no last moment, so only what a zygote imported
itself becomes so, never what a DAG file has made.
"""

import ctypes
import gc
import sys
from collections.abc import Iterator
from types import CodeType
from typing import Any

_COUNT_BYTES = 4
_FIRST_IMMORTAL = 1 << 31
_AT_ONCE = 1000


def make_immortal() -> None:
    """Make everything there is immortal. Before Python 3.12, and without its global lock, nothing is done.

    To be called before ``gc.freeze``: what is frozen cannot be found any more.
    """
    counts = (ctypes.c_uint32 * (1 << 60)).from_address(0)  # an array is quicker
    immortal = counts[id(None) // _COUNT_BYTES]
    if immortal < _FIRST_IMMORTAL:
        return  # Or objects are laid out in a way we do not know.
    gc.collect()
    marked = gc.get_objects()
    for one in marked:
        counts[id(one) // _COUNT_BYTES] = immortal
    while marked:
        new = []
        for one in _mortals_of(marked):
            if sys.getrefcount(one) < _FIRST_IMMORTAL:  # It may have come twice.
                counts[id(one) // _COUNT_BYTES] = immortal
                new.append(one)
        marked = new


def _mortals_of(objects: list[Any]) -> Iterator[Any]:
    """Yield what they refer to and is not immortal yet."""
    count = sys.getrefcount
    for first in range(0, len(objects), _AT_ONCE):
        part = objects[first : first + _AT_ONCE]
        found = gc.get_referents(*part)
        # Code does not tell the collector what it refers to.
        for code in (one for one in part if type(one) is CodeType):
            found += (code.co_consts, code.co_names)
        yield from [one for one in found if count(one) < _FIRST_IMMORTAL]
