"""File that records why the last start of the appliance on this host could not succeed.

Written by the part that found out; the next start removes it.
"""

import socket
import time
from contextlib import suppress
from pathlib import Path

_FILE = "failed-start"
_FRESH_S = 2.0
"""What is older may be of an earlier start; one that is under way has removed it by then."""


def note(data: Path, why: str) -> None:
    """Write the reason; an appliance that cannot write it has printed it."""
    with suppress(OSError):
        _path(data).write_text(why, encoding="utf-8")


def forget(data: Path) -> None:
    """Begin another start."""
    _path(data).unlink(missing_ok=True)


def noted(data: Path) -> str | None:
    """Return the reason; None when there is none."""
    try:
        return _path(data).read_text(encoding="utf-8") or None
    except OSError:
        return None


def noted_after(data: Path, waited_s: float) -> str | None:
    """Return the reason after a wait of ``waited_s`` for the appliance; None while it may still come up."""
    try:
        age_s = time.time() - _path(data).stat().st_mtime
    except OSError:
        return None
    return noted(data) if waited_s >= min(_FRESH_S, age_s) else None


def _path(data: Path) -> Path:
    return data / "run" / socket.gethostname() / _FILE
