"""Message that says who may not read or write a file, who owns it, and the two ways out."""

import os
import pwd
import stat
from pathlib import Path


def closed(folder: Path) -> Path | None:
    """Return the first folder on the way that this user may not enter."""
    for path in (*reversed(folder.parents), folder):
        if path.is_dir() and not os.access(path, os.X_OK):
            return path
    if folder.is_dir() and not os.access(folder, os.R_OK):
        return folder
    return None


def denied(path: Path, deed: str, wanted: Path) -> str:
    """Say which path, whose it is, and the two ways out."""
    status = path.stat()
    mode = stat.filemode(status.st_mode)
    uid, gid = status.st_uid, status.st_gid
    me = os.geteuid()
    what = "" if path == wanted else f" ({wanted} is wanted)"
    if deed == "read":
        let_in = f"chmod -R a+rX {path}"
    else:
        let_in = f"chown -R {me} {path}, or with Docker a named volume"
    return (
        f"{path}: cannot be {deed} by user {me}{what}; it belongs to "
        f"{_user_name(uid)} ({uid}:{gid}), {mode}.\n"
        f"  Either run as its owner (docker run --user {uid}:{gid}), "
        f"or let user {me} in ({let_in})."
    )


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return "a user unknown here"
