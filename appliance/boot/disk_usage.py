"""Size of the data folder's parts, and the free space on its disk."""

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.config.sizes import size

_PARTS = {
    "database": ("temporal.db", "temporal.db-wal", "temporal.db-shm"),
    "logs": ("logs",),
    "xcoms": ("xcom",),
    "backups": ("backups",),
}
_MOST_S = 2.0
"""Counting a great many files may take minutes; the count until then is reported."""
_SCARCE = 0.05
_SCARCE_BYTES = 1e9


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes by part of the data folder, and how much is free."""

    parts: dict[str, int]
    free: int
    total: int
    is_complete: bool

    @property
    def line(self) -> str:
        """Say it in a line."""
        more = "" if self.is_complete else "more than "
        taken = ", ".join(f"{name} {size(n)}" for name, n in self.parts.items() if n)
        return f"{more}{taken or 'nothing yet'}; {size(self.free)} free"

    @property
    def is_scarce(self) -> bool:
        """Whether it may be full soon."""
        return self.free < min(_SCARCE_BYTES, self.total * _SCARCE)


def measure(data: Path, *, most_s: float = _MOST_S) -> Disk:
    """Count the bytes in the data folder, which must exist."""
    deadline = time.monotonic() + most_s
    parts = dict.fromkeys(_PARTS, 0)
    is_complete = True
    for part, names in _PARTS.items():
        for number in _sizes([data / name for name in names]):
            if time.monotonic() > deadline:
                is_complete = False
                break
            parts[part] += number
    usage = shutil.disk_usage(data)
    return Disk(parts, usage.free, usage.total, is_complete)


def _sizes(paths: list[Path]) -> Iterator[int]:
    """Yield the bytes each file takes, those of folders below, too."""
    for path in paths:
        try:
            if path.is_dir() and not path.is_symlink():
                with os.scandir(path) as entries:
                    yield from _sizes([Path(entry) for entry in entries])
            else:
                yield path.lstat().st_blocks * 512
        except OSError:
            continue  # It went while we looked, or was never there.
