"""A real Airflow to compare with: LocalExecutor with 8 slots on PostgreSQL.

It runs from the environment of the bench, which has all of Airflow in it; folder, database and
ports are its own.
"""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.box import clean_environ
from tests.ports import free_port
from tests.postgres import Postgres, running_postgres

SLOTS = 8
_DAEMONS = ("api-server", "scheduler", "dag-processor")
_START_S = 180.0
_STOP_S = 30.0
_RUN_S = 600.0
_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Rival:
    """A running Airflow."""

    environ: dict[str, str]
    postgres: Postgres
    pids: list[int]

    def trigger(self, dag_id: str, run_id: str) -> float:
        """Trigger a run; return the seconds the command took."""
        began = time.monotonic()
        _airflow(self.environ, "dags", "trigger", dag_id, "--run-id", run_id)
        return time.monotonic() - began

    def duration_s(self, dag_id: str, run_id: str) -> float:
        """Wait for the end of a run; return how long it took by Airflow's own account."""
        deadline = time.monotonic() + _RUN_S
        row = (
            "SELECT state, extract(epoch FROM end_date - start_date) FROM dag_run "  # noqa: S608 - ids of ours
            f"WHERE dag_id = '{dag_id}' AND run_id = '{run_id}'"
        )
        while time.monotonic() < deadline:
            state, _, seconds = self.postgres.query(row)[0].partition("|")
            if state in ("success", "failed"):
                assert state == "success", f"{dag_id} {run_id} {state}"
                return float(seconds)
            time.sleep(_POLL_S)
        raise AssertionError(f"{dag_id} {run_id} did not end in {_RUN_S:.0f} s")


@contextmanager
def running_airflow(*, dags: Path, folder: Path) -> Iterator[Rival]:
    """Start an Airflow on a DAG folder, wait until it has read it, and stop it in the end."""
    with running_postgres() as postgres, ExitStack() as daemons:
        environ = _environ(dags, folder, postgres)
        _airflow(environ, "db", "migrate")
        pids = [
            daemons.enter_context(_daemon(name, folder, environ)) for name in _DAEMONS
        ]
        rival = Rival(environ, postgres, pids)
        _wait_for_dags(postgres, len(list(dags.glob("*.py"))))
        yield rival


@contextmanager
def _daemon(name: str, folder: Path, environ: dict[str, str]) -> Iterator[int]:
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", name],
            env=environ,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def _environ(dags: Path, folder: Path, postgres: Postgres) -> dict[str, str]:
    port = free_port()
    settings = {
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__DAGS_FOLDER": str(dags),
        "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__PARALLELISM": str(SLOTS),
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "DATABASE__SQL_ALCHEMY_CONN": postgres.uri("postgresql+psycopg2"),
        "API__HOST": "127.0.0.1",
        "API__PORT": str(port),
        "API__SECRET_KEY": secrets.token_hex(),
        "API_AUTH__JWT_SECRET": secrets.token_hex(64),
        "USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    named = {f"AIRFLOW__{name}": value for name, value in settings.items()}
    return {**clean_environ(), **named, "AIRFLOW_HOME": str(folder)}


def _airflow(environ: dict[str, str], *words: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "airflow", *words],
        env=environ,
        check=True,
        capture_output=True,
    )


def _wait_for_dags(postgres: Postgres, files: int) -> None:
    """Wait until every file has given at least one DAG."""
    deadline = time.monotonic() + _START_S
    count = "SELECT count(DISTINCT fileloc) FROM dag"
    while postgres.query(count) != [str(files)]:
        if time.monotonic() > deadline:
            raise AssertionError(f"Airflow read no DAG in {_START_S:.0f} s")
        time.sleep(_POLL_S)
