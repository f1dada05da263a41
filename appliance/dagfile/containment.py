"""Check that a file which a worker is asked to open lies below the DAG folder.

What names a file may come from anybody who reaches the Temporal server. A file is opened if it lies below the DAG
folder when links are followed, or if Airflow's own listing of the folder finds it: that follows links which lead out.
"""

import os
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from pathlib import Path, PurePosixPath

from appliance.dagfile.folder_scan import in_time
from appliance.dagrun.ids import shown
from appliance.errors import DagError

_MOST_BYTES, _MOST_NAME_BYTES = 4096, 256
"""What a path and a part of it may have, on Linux."""


async def require(
    file: str, root: Path, listed: Callable[[], Awaitable[Collection[str]]]
) -> None:
    """Refuse a file that is none of the DAG folder.

    Args:
        file: As somebody names it; relative to the DAG folder if it is one of its files.
        root: The DAG folder.
        listed: Returns the files that Airflow finds in the folder; asked only if it matters.

    Raises:
        DagError: it is refused.
    """
    if is_plain(file):
        is_below = await in_time(lambda: _lies_below(file, root))
        if is_below or file in await listed():
            return
    raise DagError(
        f"{shown(file)}: refused, as it is no file of the DAG folder {root}; a worker opens "
        "no other"
    )


def is_plain(file: str) -> bool:
    """Whether this is the one way to write the path of something below a folder."""
    path = PurePosixPath(file)
    return (
        path.as_posix() == file
        and not path.is_absolute()
        and ".." not in path.parts
        and file != "."
        and "\0" not in file
        and _bytes(file) < _MOST_BYTES
        and max(map(_bytes, path.parts)) < _MOST_NAME_BYTES
    )


def _bytes(text: str) -> int:
    return len(text.encode(errors="replace"))


def _lies_below(file: str, root: Path) -> bool:
    try:
        return (root / file).resolve().is_relative_to(root.resolve())
    except (OSError, ValueError):  # A circle of links, or no text of a path.
        return False


def relative(dag_file: str, root: Path) -> str:
    """Return a file as the DAG folder calls it.

    Args:
        dag_file: Absolute, or relative to the DAG folder or to the folder it is in. A name that is a link stays that
            name; one that leads to the folder by another way is followed.
        root: The DAG folder, absolute.

    Raises:
        DagError: It is not in the DAG folder.
    """
    for base in (root, root.parent):
        with suppress(OSError, ValueError):  # No path of a file can be so.
            path = Path(os.path.normpath(Path(base, dag_file)))
            for named, folder in ((path, root), (path.resolve(), root.resolve())):
                if named.is_relative_to(folder) and named.is_file():
                    return named.relative_to(folder).as_posix()
    raise DagError(f"{shown(dag_file)}: there is no such file in the DAG folder {root}")
