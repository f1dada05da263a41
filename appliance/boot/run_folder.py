"""Folder of one start of the appliance, and the locks that keep two appliances apart.

It is ``run/<host name>`` in the data folder: containers that share a data folder each have
their own. The lock file holds the process id of supervisord; the kernel drops the lock
with the process, however it ends.
"""

import fcntl
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from appliance.config.model import Config
from appliance.errors import ApplianceError

_BEGIN = "began"
_PATIENCE_S = 1.0
"""Who looks whether a lock is held has it shared for an instant; one that is held that long is meant."""
_AGAIN_S = 0.02


class AlreadyRunning(ApplianceError):
    """Another appliance works on this data folder."""


def run_folder(data: Path) -> Path:
    """Return the folder of this host's appliance."""
    return data / "run" / socket.gethostname()


@contextmanager
def locked(config: Config) -> Iterator[Path]:
    """Hold the lock of this appliance in the data folder; yield the folder of this start.

    Raises:
        AlreadyRunning: another appliance works there.
    """
    folder = run_folder(config.data)
    _sweep(folder)
    files = [folder / "lock"]
    if config.runs_server:
        # Two servers on one database would ruin it, also from two containers.
        files.append(config.data / "run" / "server.lock")
    if config.runs_worker:
        # Each would take the other's tries for those of its own last life.
        files.append(config.data / "run" / "worker.lock")
    held: list[IO[str]] = []
    try:
        held.extend(_lock(path, config) for path in files)
        yield folder
    finally:
        for file in held:
            file.close()


def note_begin(folder: Path, began: float) -> None:
    """Leave in the folder of this start when it began, by ``time.monotonic()``."""
    (folder / _BEGIN).write_text(str(began))


def take_begin(data: Path) -> float | None:
    """Return when this process's appliance began; None unless it is the first of its children to ask."""
    if not is_child_of(data):
        return None
    path = run_folder(data) / _BEGIN
    try:
        began = float(path.read_text())
        path.unlink()
    except (OSError, ValueError):
        return None
    return began


def is_child_of(data: Path) -> bool:
    """Whether this process was started by this host's appliance on ``data``."""
    return holder(data) == os.getppid()


def holder(data: Path) -> int | None:
    """Return the process id of this host's appliance on ``data``; None when it is down."""
    path = run_folder(data) / "lock"
    try:
        with path.open() as file:
            # Shared, so that of several who ask none takes another for the appliance.
            if _try_lock(file, fcntl.LOCK_SH):
                return None
            return int(file.read() or 0) or None
    except (FileNotFoundError, PermissionError):
        return None


def refuse_second(config: Config) -> None:
    """Look for an appliance of this host before anything else does.

    Raises:
        AlreadyRunning: there is one on this data folder.
    """
    pid = holder(config.data)
    if pid is not None:
        raise _already(config, str(pid))


def _sweep(own: Path) -> None:
    """Remove what ended containers left, each of which had a host name of its own."""
    for lock in own.parent.glob("*/lock"):
        if lock.parent == own:
            continue
        with suppress(OSError), lock.open("r+") as file:
            if _try_lock(file, fcntl.LOCK_EX):
                shutil.rmtree(lock.parent, ignore_errors=True)


def _already(config: Config, pid: str) -> AlreadyRunning:
    return AlreadyRunning(
        f"{config.data}: another appliance already runs on this data folder "
        f"(process {pid}).\nStop it with `appliance down`, or set APPLIANCE_DATA to "
        "another folder."
    )


def _lock(path: Path, config: Config) -> IO[str]:
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
        if _try_lock(file, fcntl.LOCK_EX) and _is_at(file, path):
            break
        if time.monotonic() > deadline:
            file.seek(0)
            pid = file.read().strip() or "unknown"
            file.close()
            raise _already(config, pid)
        file.close()
        time.sleep(_AGAIN_S)
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def _is_at(file: IO[str], path: Path) -> bool:
    """Whether an open file is still the one at its path: another host's start may have swept it away."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _try_lock(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
