"""Objects without reference counts: a child that uses one does not write to the page it is on.

A fork shares its parent's pages until somebody writes to them, and counting references writes to every object that is
looked at: half of the pages a child has to copy. From Python 3.12 an object can be immortal, which keeps its count as
it is (PEP 683, made for this). What is immortal is never freed and has no last moment, so only what a zygote imported
itself becomes so, never what a DAG file has made.
"""

import ctypes
import gc
import sys
from collections.abc import Iterable, Iterator
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
    found = _mortals(gc.get_objects())
    while found:
        for address in found:
            counts[address // _COUNT_BYTES] = immortal
        found = _mortals(_referents(found.values()))


def _mortals(objects: Iterable[Any]) -> dict[int, Any]:
    """Return those of them that are not immortal, by address."""
    count = sys.getrefcount
    return {id(one): one for one in objects if count(one) < _FIRST_IMMORTAL}


def _referents(objects: Iterable[Any]) -> Iterator[Any]:
    """Yield what they refer to, some of it many times."""
    objects = tuple(objects)
    for first in range(0, len(objects), _AT_ONCE):
        yield from gc.get_referents(*objects[first : first + _AT_ONCE])
    # Code does not tell the collector what it refers to.
    for code in (one for one in objects if type(one) is CodeType):
        yield code.co_consts
        yield code.co_names
