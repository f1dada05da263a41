"""Walk over every folder below a folder, once each, whatever its links and permissions are.

A folder with several names (a link to it, what git-sync and Kubernetes make) goes by the one people see: not hidden,
then not by a link, then the first in the alphabet. What cannot be looked at is told and hides nothing else.
"""

import errno
import heapq
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from appliance.config.file_access import closed, denied

_MOUNTED = "..data"
"""What Kubernetes links to the version of a ConfigMap or Secret that is in force; all beside it that begins with ``..`` is
its own."""


Entry = os.DirEntry[str]


@dataclass(frozen=True, slots=True)
class FolderLevel:
    """One folder. Who does not want a folder below it takes that out of ``folders``."""

    path: str
    above: str
    """The path of the level it was found in; its own, if it is the first."""
    folders: list[Entry] = field(default_factory=list)
    files: list[Entry] = field(default_factory=list)
    """All that is no folder: links that lead nowhere, sockets and devices, too."""
    troubles: dict[str, str] = field(default_factory=dict)
    """Path of what cannot be looked at, an entry or the folder itself → why."""


@dataclass(order=True, frozen=True, slots=True)
class _Waiting:
    is_hidden: bool
    is_linked: bool
    path: str
    above: str = field(compare=False)

    def below(self, entry: Entry) -> "_Waiting":
        return _Waiting(
            self.is_hidden or entry.name.startswith("."),
            self.is_linked or entry.is_symlink(),
            entry.path,
            self.path,
        )


def levels(
    root: str, seen: set[tuple[int, int]] | None = None
) -> Iterator[FolderLevel]:
    """Yield every folder from ``root`` on, those people see first; links are followed.

    Args:
        root: Where to begin.
        seen: Device and inode of folders to leave out; those that were yielded are added.
    """
    seen = set() if seen is None else seen
    waiting = [_Waiting(is_hidden=False, is_linked=False, path=root, above=root)]
    while waiting:
        now = heapq.heappop(waiting)
        try:
            own = os.stat(now.path)  # noqa: PTH116 - hundreds of folders before every run
            if (own.st_dev, own.st_ino) in seen:
                continue
            seen.add((own.st_dev, own.st_ino))
            level = _level(now, root)
        except (FileNotFoundError, NotADirectoryError):
            continue  # It vanished.
        except OSError as error:
            level = FolderLevel(now.path, now.above)
            level.troubles[now.path] = why_not(now.path, error)
        yield level
        for entry in level.folders:
            heapq.heappush(waiting, now.below(entry))


def why_not(path: str, error: OSError) -> str:
    """Say why something cannot be read, and what to do."""
    if isinstance(error, PermissionError):
        real = Path(os.path.realpath(path))
        return denied(closed(real.parent) or closed(real) or real, "read", Path(path))
    if error.errno == errno.ELOOP:
        return "is a link that leads back to itself; remove it"
    return f"cannot be read: {error.strerror or error}"


def _level(now: _Waiting, root: str) -> FolderLevel:
    level = FolderLevel(now.path, now.above)
    with os.scandir(now.path) as entries:
        for entry in entries:
            _sort(entry, level, root)
    if any(entry.name == _MOUNTED for entry in level.folders):
        seen = [one for one in level.folders if not one.name.startswith("..")]
        level.folders[:] = seen
    return level


def _sort(entry: Entry, level: FolderLevel, root: str) -> None:
    try:
        is_folder = entry.is_dir()
    except OSError as error:
        level.troubles[entry.path] = why_not(entry.path, error)
        return
    if not is_folder:
        level.files.append(entry)
    elif entry.is_symlink() and _holds(entry.path, level, root):
        target = os.path.realpath(entry.path)
        level.troubles[entry.path] = (
            f"is a link to {target}, a folder that it is in itself; remove it"
        )
    else:
        level.folders.append(entry)


def _holds(link: str, level: FolderLevel, root: str) -> bool:
    """Whether what a link leads to holds the link itself, or the root."""
    target = Path(os.path.realpath(link))
    here = (os.path.realpath(level.path), os.path.realpath(root))
    return any(Path(path).is_relative_to(target) for path in here)
