"""Quota for task logs: deletes the logs of whole runs, those least recently written first."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from appliance.taskrun.log_paths import FOLDER

_LEAVES = 0.9
"""How much of the quota is still taken afterwards, so that it is not done again at once."""


@dataclass(frozen=True, slots=True)
class _Run:
    folder: Path
    bytes: int
    last_write: float


def trim(data: Path, quota_bytes: int) -> int:
    """Remove logs beyond the quota; return of how many runs.

    The run that wrote last is kept whatever it takes: somebody looks at it.
    """
    runs = sorted(_runs(data / FOLDER), key=lambda run: run.last_write)
    taken = sum(run.bytes for run in runs)
    if taken <= quota_bytes:
        return 0
    removed = 0
    for run in runs[:-1]:
        if taken <= quota_bytes * _LEAVES:
            break
        shutil.rmtree(run.folder, ignore_errors=True)
        taken -= run.bytes
        removed += 1
    return removed


def _runs(logs: Path) -> list[_Run]:
    return [
        _measured(run)
        for dag in _folders(logs)
        for run in _folders(dag)
        if run.exists()
    ]


def _measured(run: Path) -> _Run:
    total, last = 0, 0.0
    for folder, _, names in os.walk(run):
        for name in names:
            try:
                seen = os.lstat(f"{folder}/{name}")
            except FileNotFoundError:
                continue
            total += seen.st_blocks * 512  # what it takes, not how long it is
            last = max(last, seen.st_mtime)
    return _Run(run, total, last)


def _folders(path: Path) -> list[Path]:
    try:
        return [found for found in path.iterdir() if found.is_dir()]
    except FileNotFoundError:
        return []
