"""Vacuum of the server's database before a start, which returns the space of past runs to the disk.

SQLite keeps it for later rows and its file never shrinks by itself. Only done before the server starts: it needs the
database for itself.
"""

import shutil
import sqlite3
import sys
from contextlib import closing, suppress
from pathlib import Path

from appliance.config.sizes import size

_WORTH_BYTES = 100_000_000
_WORTH_SHARE = 0.5
"""It takes about a second for every 100 MB that stay; below either it is left for rows to come."""


def vacuum(database: Path) -> None:
    """Compact a database most of which is empty, if there is room for the copy that takes.

    What cannot be compacted is left as it is: the server says what is wrong with it, if anything is.
    """
    if not database.exists():
        return
    with suppress(sqlite3.Error), closing(sqlite3.connect(database)) as connection:
        (page,) = connection.execute("PRAGMA page_size").fetchone()
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (unused,) = connection.execute("PRAGMA freelist_count").fetchone()
        idle, stays = unused * page, (pages - unused) * page
        if idle < _WORTH_BYTES or unused < _WORTH_SHARE * pages:
            return
        # The compacted copy is made in a temporary file and written through the log.
        if shutil.disk_usage(database.parent).free < 3 * stays:
            return
        sys.stderr.write(f"{database}: giving {size(idle)} back to the disk ...\n")
        connection.execute(
            f"PRAGMA temp_store_directory = '{_quoted(database.parent)}'"
        )
        connection.execute("VACUUM")


def _quoted(path: Path) -> str:
    return str(path).replace("'", "''")
