"""Which files there are below some folders and when they changed, by one quick look at each.

A stamp is (mtime in ns, size). What Python and version control write by themselves is left out.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Stamp = tuple[int, int]

_NOT_OURS = frozenset(("__pycache__", ".git", ".ruff_cache", ".mypy_cache"))


@dataclass(frozen=True, slots=True)
class Walk:
    """The folders at one moment: absolute path → stamp."""

    taken_at: float
    stamps: Mapping[str, Stamp] = field(repr=False)
    digest: str

    def digest_of(self, paths: Iterable[str]) -> str:
        """Sum up these files alone; a file that is not there counts as such."""
        return _digest((path, self.stamps.get(path)) for path in sorted(set(paths)))


def walk(folders: Iterable[Path], now: float) -> Walk:
    """Look at every file below the folders, following links once; ``now`` is its time."""
    stamps: dict[str, Stamp] = {}
    seen: set[tuple[int, int]] = set()
    for folder in folders:
        stamps.update(_files(str(folder), seen))
    return Walk(now, stamps, _digest(sorted(stamps.items())))


def _files(folder: str, seen: set[tuple[int, int]]) -> Iterator[tuple[str, Stamp]]:
    waiting = [folder]
    while waiting:
        below = waiting.pop()
        try:
            own = os.stat(below)  # noqa: PTH116 - hundreds of folders before every run
            entries = list(os.scandir(below))
        except OSError:
            continue  # It vanished, or may not be read: as if it were not there.
        if (own.st_dev, own.st_ino) in seen:
            continue
        seen.add((own.st_dev, own.st_ino))
        for entry in entries:
            if entry.name in _NOT_OURS or entry.name.endswith(".pyc"):
                continue
            if entry.is_dir():
                waiting.append(entry.path)
            elif (stamp := _stamp(entry)) is not None:
                yield entry.path, stamp


def _stamp(entry: "os.DirEntry[str]") -> Stamp | None:
    try:
        found = entry.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _digest(items: Iterable[tuple[str, Stamp | None]]) -> str:
    digest = hashlib.sha256()
    for path, stamp in items:
        digest.update(f"{path}\0{stamp}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()
