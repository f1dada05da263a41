"""A PostgreSQL server for as long as a test needs one."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_port

_PROGRAMS = Path("/usr/lib/postgresql")
_OWNER = "postgres"
"""Whom the Debian package makes; PostgreSQL refuses to run as root."""


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server whose superuser ``postgres`` needs no password."""

    programs: Path
    port: int

    def uri(self, scheme: str = "postgres") -> str:
        """Return a URI of its first database."""
        return f"{scheme}://postgres@127.0.0.1:{self.port}/postgres"

    def query(self, sql: str) -> list[str]:
        """Run SQL; return the rows, columns joined by ``|``."""
        psql = [str(self.programs / "psql"), self.uri("postgresql"), "-XAtc", sql]
        done = subprocess.run(psql, check=True, capture_output=True, text=True)
        return done.stdout.splitlines()


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start a server on a free port in a temporary folder; stop and remove it in the end."""
    programs = _newest()
    folder = Path(tempfile.mkdtemp(prefix="appliance-postgres-"))
    if os.geteuid() == 0:
        shutil.chown(folder, _OWNER)
    port = free_port()
    data = folder / "data"
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    control: list[str | Path] = [programs / "pg_ctl", "-D", data, "-w", "-s"]
    try:
        _run(programs / "initdb", "-D", data, "-A", "trust", "-U", "postgres")
        _run(*control, "-l", folder / "log", "-o", options, "start")
        try:
            yield Postgres(programs, port)
        finally:
            _run(*control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _newest() -> Path:
    found = sorted(_PROGRAMS.glob("*/bin"), key=lambda path: float(path.parent.name))
    if not found:
        raise AssertionError(f"no PostgreSQL in {_PROGRAMS}: apt install postgresql")
    return found[-1]


def _run(*words: str | Path) -> None:
    become = ["runuser", "-u", _OWNER, "--"] if os.geteuid() == 0 else []
    # pg_ctl leaves a server that holds on to inherited output, hence no pipe.
    subprocess.run([*become, *words], check=True, stdout=subprocess.DEVNULL, cwd="/")
