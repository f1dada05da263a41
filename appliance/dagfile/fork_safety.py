"""Detection of threads, sockets and other state of a read DAG file that a forked try must not share.

Only what the file itself did counts: what its third-party imports did is there again in
whichever process imports them.
"""

import atexit
import gc
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

_THREADS = Path("/proc/self/task")
_DESCRIPTORS = Path("/proc/self/fd")
_HARMLESS = frozenset(("/dev/null", "/dev/random", "/dev/urandom"))
_MT_FRESH = (623, 0x80000000)
"""Position and first word of numpy's global generator before its first use."""


class ForkSafety:
    """Compares the process before and after a file was read."""

    def __init__(self, user_roots: Sequence[Path]) -> None:
        self._user_roots = user_roots
        self._prefixes = tuple(f"{root}/" for root in user_roots)
        self._threads = _native_threads()
        self._descriptors = _descriptors()
        self._random = random.getstate()
        self._register = atexit.register
        self._exit_functions = 0
        atexit.register = self._registered  # type: ignore[assignment]

    def found(self) -> list[str]:
        """Return what is new, as text that follows "the file", and end the watch."""
        atexit.register = self._register
        checks = {
            "starts threads": self._has_threads(),
            "opens files, sockets or pipes": bool(_descriptors() - self._descriptors),
            "starts processes": _has_children(),
            "registers exit functions": self._exit_functions > 0,
            "uses the global random generator": self._has_drawn(),
            "makes a random generator": self._has_generator(),
        }
        return [words for words, is_so in checks.items() if is_so]

    def _registered(
        self, function: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Callable[..., Any]:
        code = getattr(function, "__code__", None)
        where = Path(code.co_filename) if code else Path()
        if any(where.is_relative_to(root) for root in self._user_roots):
            self._exit_functions += 1
        self._register(function, *args, **kwargs)
        return function

    def _has_threads(self) -> bool:
        """Whether there are threads other than a numeric library's own pool.

        OpenBLAS prepares its pool for forks, and its threads carry the process's name.
        """
        if threading.active_count() > 1:
            return True
        new = _native_threads().items() - self._threads.items()
        own_name = _THREADS.joinpath(str(os.getpid()), "comm").read_text()
        return any(name != own_name or "numpy" not in sys.modules for _, name in new)

    def _has_drawn(self) -> bool:
        if random.getstate() != self._random:
            return True
        numpy_random = sys.modules.get("numpy.random")
        if numpy_random is None:
            return False
        _, key, position, *_ = numpy_random.get_state()
        return (position, int(key[0])) != _MT_FRESH

    def _has_generator(self) -> bool:
        """Whether there is a generator that copies of this process would draw the same numbers from.

        Those that third-party modules keep for themselves were made on import.
        """
        kinds = tuple(_generator_kinds())
        made = [one for one in gc.get_objects() if issubclass(type(one), kinds)]
        made = [one for one in made if not isinstance(one, random.SystemRandom)]
        if not made:
            return False
        modules: list[object] = list(sys.modules.values())
        theirs = {
            id(vars(one))
            for one in modules
            if isinstance(one, ModuleType) and not self._is_own(one)
        }
        return any(
            all(id(holder) not in theirs for holder in gc.get_referrers(one))
            for one in made
        )

    def _is_own(self, module: ModuleType) -> bool:
        file = vars(module).get("__file__")  # Looked up so, no lazy module is loaded.
        return file is not None and file.startswith(self._prefixes)


def _generator_kinds() -> Iterator[type]:
    yield random.Random
    if (numpy_random := sys.modules.get("numpy.random")) is not None:
        yield numpy_random.Generator
        yield numpy_random.RandomState


def _native_threads() -> dict[str, str]:
    """Thread id → name, of this process's kernel threads."""
    names = {}
    for thread in _THREADS.iterdir():
        try:
            names[thread.name] = thread.joinpath("comm").read_text()
        except OSError:
            continue  # It ended meanwhile.
    return names


def _descriptors() -> set[str]:
    """Return what this process holds open and would share with a fork, down to the place in a file."""
    held = set()
    for descriptor in _DESCRIPTORS.iterdir():
        try:
            target = os.readlink(descriptor)  # noqa: PTH115 - the text, not a path
        except OSError:
            continue  # The listing's own descriptor.
        if target not in _HARMLESS:
            held.add(target + descriptor.name)
    return held


def _has_children() -> bool:
    try:
        return bool(_THREADS.joinpath(str(os.getpid()), "children").read_text().strip())
    except OSError:
        return False  # A kernel without that file.
