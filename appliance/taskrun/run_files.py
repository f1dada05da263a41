"""Files of a run in the data folder: one folder of logs and one of XComs per run."""

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from appliance.taskrun.log_paths import FOLDER

_HEAD_BYTES = 65536


@dataclass(frozen=True, slots=True)
class RunFiles:
    """What one run left."""

    dag_id: str
    run_id: str
    folders: tuple[Path, ...]

    def erase(self) -> None:
        """Delete it, and the folder of its DAG when nothing else is in there."""
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):
                folder.parent.rmdir()


def traces(data: Path, xcoms: Path | None, *, before: float) -> list[RunFiles]:
    """Return what runs left that have written nothing since ``before``, in seconds since 1970.

    Args:
        data: the data folder.
        xcoms: where XComs are, if that is a folder here.
        before: when.
    """
    found: dict[tuple[str, str], list[Path]] = {}
    for folder in _old(data / FOLDER, "dag_id=*/run_id=*", before):
        found.setdefault(_ids(folder), []).append(folder)
    for folder in _old(xcoms, "*/*", before) if xcoms else ():
        found.setdefault((folder.parent.name, folder.name), []).append(folder)
    return [RunFiles(*ids, tuple(folders)) for ids, folders in sorted(found.items())]


def _old(root: Path, pattern: str, before: float) -> Iterator[Path]:
    for folder in root.glob(pattern):
        if not folder.is_symlink() and folder.is_dir() and _is_old(folder, before):
            yield folder


def _is_old(folder: Path, before: float) -> bool:
    """Look at the folder itself first: most runs are younger and need no walk."""
    with suppress(FileNotFoundError):  # It is being written to.
        return folder.stat().st_mtime < before and all(
            path.stat().st_mtime < before for path in folder.rglob("*")
        )
    return False


def _ids(folder: Path) -> tuple[str, str]:
    """Return ids of DAG and run: from a log, as names of folders may be shortened."""
    for log in folder.rglob("*.log"):
        with log.open("rb") as file:
            lines = file.read(_HEAD_BYTES).splitlines()
        for line in lines:
            with suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict) and {"dag_id", "run_id"} <= event.keys():
                    return str(event["dag_id"]), str(event["run_id"])
    return _value(folder.parent), _value(folder)


def _value(folder: Path) -> str:
    text = folder.name.partition("=")[2]
    return text.replace("%2F", "/").replace("%00", "\0")
