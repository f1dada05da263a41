"""Check of the server's database before the server opens it, and how to restore a backup.

The server makes its tables only where there is no file, and says no more than what SQLite says of the rest.
"""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

from appliance.boot.preflight import NotReady
from appliance.taskrun.log_paths import FOLDER as LOGS

DATABASE = "temporal.db"
_BESIDE = ("temporal.db-wal", "temporal.db-shm", "temporal.db-journal")
_HEADER = b"SQLite format 3\0"
_TABLES = frozenset(
    {
        "cluster_metadata_info",
        "executions",
        "executions_visibility",
        "history_node",
        "namespaces",
        "task_queues",
    }
)
"""Some of those the server cannot do without."""
_GLANCE_S = 0.3
"""How long a start may take to look through the pages of a database; about 100 MB."""
_STEPS = 100_000


def check(data: Path) -> None:
    """Look at the database, if there is one; no server runs on it.

    One without a namespace is what a first start left that was cut short: no server would complete it, nothing is in
    it, and it is removed.

    Raises:
        NotReady: it cannot be used.
    """
    path = data / DATABASE
    if not path.exists():
        return
    what = _wrong_file(path, data / LOGS) or damage(data, limit_s=_GLANCE_S)
    if what is None:
        tables = _tables(path)
        if tables and not tables & _TABLES:
            what = "is a database of another program"
        elif not _has_namespace(path, tables):
            for name in (DATABASE, *_BESIDE):
                (data / name).unlink(missing_ok=True)
        elif missing := _TABLES - tables:
            what = f"is incomplete, it has no table {min(missing)}"
    if what is not None:
        raise NotReady(f"{path}: {what}.\n{cure(data)}")


def damage(data: Path, *, limit_s: float) -> str | None:
    """Say what SQLite finds wrong with the database within ``limit_s``; None when nothing."""
    deadline = time.monotonic() + limit_s
    try:
        with closing(sqlite3.connect(data / DATABASE, timeout=0)) as connection:
            connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as err:
        if err.sqlite_errorcode == sqlite3.SQLITE_CANTOPEN:
            return f"cannot be opened ({err})"
        return None  # Interrupted, or locked: not known.
    except sqlite3.DatabaseError as err:
        return f"is damaged ({err})"
    return None if found == "ok" else f"is damaged ({' '.join(str(found).split())})"


def cure(data: Path) -> str:
    """Say how a backup is put back."""
    kept = sorted(path.name for path in (data / "backups").glob("*.db"))
    copies = (
        f" (copies made at upgrades: {', '.join(kept)} in backups/)" if kept else ""
    )
    return (
        f"Put a backup back: remove {DATABASE}* in {data}, and copy the backup there as "
        f"{DATABASE}{copies}. Without one, move {DATABASE}* away: the appliance begins "
        "anew, without earlier runs. See Backup in docs/OPERATIONS.md."
    )


def _wrong_file(path: Path, logs: Path) -> str | None:
    if path.is_dir():
        return "is a folder, but the server's database has to be there"
    with path.open("rb") as file:
        head = file.read(len(_HEADER))
    if not head:
        has_run = logs.is_dir() and any(logs.iterdir())
        return "is empty, but runs have been here" if has_run else None
    return None if head == _HEADER else "is no SQLite database"


def _tables(path: Path) -> frozenset[str]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        return frozenset(name for (name,) in rows)


def _has_namespace(path: Path, tables: frozenset[str]) -> bool:
    if "namespaces" not in tables:
        return False
    with closing(sqlite3.connect(path)) as connection:
        (number,) = connection.execute("SELECT count(*) FROM namespaces").fetchone()
        return bool(number)
