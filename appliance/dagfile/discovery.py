"""List of the files in the DAG folder that Airflow would read, and of those that cannot be read. Child side.

Airflow decides: ``.airflowignore``, safe mode, archives, and what ``might_contain_dag_callable`` and other settings say.
What cannot be looked at is an error of its own, where Airflow's lister passes it over or gives up on all.
"""

import os
import socket
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from appliance.dagfile.dag_location import DagLocation, output_to
from appliance.dagfile.folder_tree import FolderLevel, levels, why_not
from appliance.dagfile.models import FileError
from appliance.forkserver import datagrams
from appliance.forkserver.airflow_internals import listing

_SUFFIXES = (".py", ".zip")


def list_files(args: dict[str, Any], fds: list[int]) -> NoReturn:
    """List the DAG files, relative to the DAG folder, and errors over the channel; then end.

    Args:
        args: As ``DagLocation`` reads them.
        fds: The channel, and where to say what goes wrong.
    """
    channel = socket.socket(fileno=fds[0])
    place = DagLocation.of(args)
    with output_to(fds[1]):
        place.put_on_path()  # might_contain_dag_callable may be the user's
        found = _Search(place.root)
        files = found.dag_files()
    errors = [asdict(found.errors[path]) for path in sorted(found.errors)]
    datagrams.send(channel, {"op": "ready", "files": files, "errors": errors})
    os._exit(0)


class _Search:
    """One look through the DAG folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._rules: dict[str, listing.Rules] = {}
        """Path of a folder → what it and those it is in leave out."""
        self.errors: dict[str, FileError] = {}
        """By path."""

    def dag_files(self) -> list[str]:
        """Return the DAG files in order."""
        paths: list[str] = []
        for level in levels(str(self._root)):
            paths += self._wanted(level)
        found = listing.dag_files(self._root, paths, self._failed)
        return sorted(Path(path).relative_to(self._root).as_posix() for path in found)

    def _wanted(self, level: FolderLevel) -> list[str]:
        """Return the files of a folder to examine, without the ignored ones."""
        rules = self._rules[level.path] = self._rules_of(level)
        level.folders[:] = [
            one for one in level.folders if not listing.is_ignored(one.path, rules)
        ]
        for path, why in level.troubles.items():
            if path == level.path or not listing.is_ignored(path, rules):
                self._tell(path, why)
        return [
            entry.path
            for entry in level.files
            if entry.name != listing.IGNORE_FILE
            and not listing.is_ignored(entry.path, rules)
            and self._can_be_read(entry)
        ]

    def _rules_of(self, level: FolderLevel) -> listing.Rules:
        above = self._rules.get(level.above, ())
        file = Path(level.path, listing.IGNORE_FILE)
        if file.name not in {entry.name for entry in level.files}:
            return above
        try:
            if not file.is_file():
                return above
            return above + listing.rules(
                file.read_text(), self._root, file, self._failed
            )
        except (OSError, ValueError) as error:
            self._failed(str(file), error)
            return above

    def _can_be_read(self, entry: "os.DirEntry[str]") -> bool:
        """Whether a file can be opened, if it may be a DAG file; else say why not."""
        if not entry.name.lower().endswith(_SUFFIXES):
            return True
        try:
            is_link_to_nothing = entry.is_symlink() and not Path(entry.path).exists()
            if is_link_to_nothing and not entry.name.startswith("."):
                target = os.readlink(entry.path)  # noqa: PTH115 - the text, not a path
                self._tell(entry.path, _NOWHERE.format(target=target))
            if not entry.is_file():
                return False  # A socket, a device: as in Airflow.
            entry.path.encode()
            Path(entry.path).open("rb").close()
        except FileNotFoundError:
            return False  # It vanished.
        except (OSError, UnicodeEncodeError) as error:
            self._failed(entry.path, error)
            return False
        return True

    def _failed(self, path: str, error: Exception) -> None:
        if isinstance(error, UnicodeEncodeError):
            self._tell(path, "the name is not in UTF-8; rename it")
        elif isinstance(error, OSError):
            self._tell(path, why_not(path, error))
        else:
            self._tell(path, f"cannot be used: {type(error).__name__}: {error}")

    def _tell(self, path: str, why: str) -> None:
        file = Path(path).relative_to(self._root) if path != str(self._root) else path
        shown = os.fsencode(file).decode(errors="backslashreplace")
        self.errors.setdefault(path, FileError(shown, None, why))


_NOWHERE = (
    "is a link to {target}, which is not there. A container sees only what is mounted: mount that, too, or put the file "
    "itself here"
)
