"""Permissions of the data folder that close it to the other accounts of the machine.

A folder of this user's is closed as a whole. One of somebody else's, or one that everybody may write to, such as a
volume of the image, stays as it is: there the parts that hold what runs had, said and returned are closed. ``run`` stays
open in it, as commands of any user of a container find the appliance by it, and no secret is in there.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path

_FOLDERS = ("logs", "xcom", "backups", "worker")
_FILES = ("temporal.db*", "up.log")


def close(data: Path) -> None:
    """Let only this user into ``data``, or into what it holds; also what an earlier version left open.

    A file system that knows no such thing is taken as it is.
    """
    _close(data, 0o700)
    for name in _FOLDERS:
        with suppress(OSError):
            (data / name).mkdir(mode=0o700, exist_ok=True)
        _close(data / name, 0o700)
    for pattern in _FILES:
        for path in data.glob(pattern):
            _close(path, 0o600)


def _close(path: Path, mode: int) -> None:
    with suppress(OSError):
        status = path.stat()
        if status.st_uid == os.geteuid() and not status.st_mode & stat.S_IWOTH:
            path.chmod(mode)
