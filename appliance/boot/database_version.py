"""Backup of the server's database before a server of another Temporal version opens it.

The server makes its schema only in an empty file and never migrates it, so whether a database of another version works
is known when it has been used. The version that used it last is in a file beside it.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from appliance.boot.preflight import NotReady

_DATABASE = "temporal.db"
_STAMP = "temporal.version"
_UNKNOWN = "unknown"
_NOTE = "database-copied"


def stamp(data: Path, version: str, *, run: Path) -> None:
    """Copy a database of another version, and note that ``version`` uses it from now on.

    Args:
        data: the data folder; no server runs on it.
        version: of the Temporal server that is about to start.
        run: the folder of this start, where ``note`` finds what was done.

    Raises:
        NotReady: the database cannot be copied.
    """
    note = run / _NOTE
    note.unlink(missing_ok=True)
    database, mark = data / _DATABASE, data / _STAMP
    before = mark.read_text().strip() if mark.exists() else _UNKNOWN
    if database.exists() and before != version:
        copy = _copy(database, before, version)
        note.write_text(
            f"The database was of Temporal {before} and is used by {version} from now "
            f"on. It was copied before: {copy}. Going back: docs/OPERATIONS.md."
        )
    mark.write_text(f"{version}\n")


def note(run: Path) -> str | None:
    """Say what was copied at this start; None when nothing was."""
    path = run / _NOTE
    return path.read_text() if path.exists() else None


def _copy(database: Path, before: str, version: str) -> Path:
    """Copy through SQLite, which includes what is still in the write-ahead log."""
    folder = database.parent / "backups"
    copy = folder / f"temporal-{before}-before-{version}.db"
    unfinished = copy.with_suffix(".unfinished")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        unfinished.unlink(missing_ok=True)
        with (
            closing(sqlite3.connect(database)) as source,
            closing(sqlite3.connect(unfinished)) as target,
        ):
            source.backup(target)
        unfinished.rename(copy)
    except (OSError, sqlite3.Error) as err:
        raise NotReady(
            f"{database}: it was used by Temporal {before}, this is {version}, and a "
            f"copy cannot be made in {folder}: {err}. Make room there, or move the "
            "database away."
        ) from err
    return copy
