"""Snapshot of all files below some folders with the times of their last change, from one fast scan.

A stamp is (when its content changed, when anything of it did, both in ns; size). What Python and version control write
by themselves is left out.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from appliance.dagfile.folder_tree import Entry, levels, why_not

Stamp = tuple[int, int, int]

_NOT_OURS = frozenset(("__pycache__", ".git", ".ruff_cache", ".mypy_cache"))


@dataclass(frozen=True, slots=True)
class FolderStamps:
    """The folders at one moment: absolute path → stamp."""

    taken_at: float
    stamps: Mapping[str, Stamp] = field(repr=False)
    digest: str
    absent: str | None = None
    """Why the first of the folders cannot be looked at; None: it can."""

    def digest_of(self, paths: Iterable[str]) -> str:
        """Sum up these files alone; a file that is not there counts as such."""
        return _digest((path, self.stamps.get(path)) for path in sorted(set(paths)))


def walk(folders: Sequence[Path], now: float, *others: Path) -> FolderStamps:
    """Look at every file below the folders, following links once, and at others alone; ``now`` is its time."""
    stamps: dict[str, Stamp] = {}
    for path in others:
        with suppress(OSError):
            stamps[str(path)] = _stamp_of(path.stat())
    troubles: dict[str, str] = {}
    seen: set[tuple[int, int]] = set()
    for folder in folders:
        stamps.update(_files(str(folder), seen, troubles))
    content = (*sorted(stamps.items()), *sorted(troubles.items()))
    return FolderStamps(now, stamps, _digest(content), _absence(folders[0]))


def _files(
    folder: str, seen: set[tuple[int, int]], troubles: dict[str, str]
) -> Iterator[tuple[str, Stamp]]:
    for level in levels(folder, seen):
        troubles |= level.troubles
        level.folders[:] = [one for one in level.folders if one.name not in _NOT_OURS]
        for entry in level.files:
            if not entry.name.endswith(".pyc") and (stamp := _stamp(entry)) is not None:
                yield entry.path, stamp


def _stamp(entry: Entry) -> Stamp | None:
    try:
        return _stamp_of(entry.stat())
    except OSError:
        return None


def _stamp_of(found: os.stat_result) -> Stamp:
    # The change of its owner or mode may decide whether it can be read.
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size


def _absence(root: Path) -> str | None:
    """Say why the DAG folder itself cannot be looked at."""
    try:
        own = root.stat()
        with os.scandir(root) as entries:
            is_empty = next(entries, None) is None
    except FileNotFoundError:
        return "is not there any more; its DAGs go on as they were read last until it is back"
    except OSError as error:
        return why_not(str(root), error)
    if own.st_nlink == 0 and is_empty:
        return (
            "was removed, or replaced by another folder of the same name; a container keeps looking at the old one: "
            "start it again"
        )
    return None


def _digest(items: Iterable[tuple[str, object]]) -> str:
    digest = hashlib.sha256()
    for path, stamp in items:
        digest.update(f"{path}\0{stamp}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()
