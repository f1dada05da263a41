"""The place of a DAG file, and the import paths and process state that reading it needs. Child side."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.forkserver.airflow_internals import child_process


@dataclass(frozen=True, slots=True)
class DagLocation:
    """A DAG file and the folders around it."""

    root: Path
    """The DAG folder."""
    plugins: Path
    file: str = ""
    """Relative to the DAG folder."""

    @classmethod
    def of(cls, args: dict[str, Any]) -> "DagLocation":
        """Read what the worker sent."""
        return cls(Path(args["root"]), Path(args["plugins"]), args.get("file", ""))

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self.root / self.file

    @property
    def user_roots(self) -> tuple[Path, ...]:
        """Folders of the user's own code."""
        return (self.root, self.plugins, self.root.parent / "include")

    def put_on_path(self) -> None:
        """Make the user's modules importable: as in Airflow, and ``include`` as with Astro."""
        folders = [self.root, self.plugins]
        if self.root.parent != Path("/") or (self.root.parent / "include").is_dir():
            folders.append(self.root.parent)
        for folder in map(str, folders):
            if folder not in sys.path:
                sys.path.append(folder)


@contextmanager
def output_to(fd: int) -> Iterator[None]:
    """Send all this process says, Airflow's log too, to ``fd`` and close that at the end."""
    kept = [os.dup(1), os.dup(2)]
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    child_process.redirect_logs(fd)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        child_process.redirect_logs(nowhere)
        for unused in (*kept, nowhere, fd):
            os.close(unused)
