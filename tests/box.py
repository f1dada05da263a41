"""A real appliance as its users have it: processes, free ports, a data folder of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.ports import free_port

ROOT = Path(__file__).parents[1]
START_S = 60.0
STOP_S = 40.0
_POLL_S = 0.1
_LAST_CHARACTERS = 4000
_OURS = ("AIRFLOW", "APPLIANCE_", "TEMPORAL_")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """Return the one JSON value it printed."""
        return json.loads(self.stdout)


@dataclass(frozen=True, slots=True)
class RunningBox:
    """An appliance that is up."""

    process: subprocess.Popen[bytes]
    environ: Mapping[str, str]
    data: Path
    code: Path
    """The folder that has the package."""

    def submit(self, *words: str, timeout_s: float = 60.0) -> Ended:
        """Run ``submit``."""
        start = "from appliance.__main__ import submit; submit()"
        command = [sys.executable, "-c", start, *words]
        return run(command, self.environ, timeout_s, self.code)

    def appliance(self, *words: str, timeout_s: float = 60.0) -> Ended:
        """Run ``appliance``."""
        command = [sys.executable, "-m", "appliance", *words]
        return run(command, self.environ, timeout_s, self.code)

    def output(self) -> str:
        """Return what the appliance has printed so far."""
        return (self.data.parent / "up.log").read_text(errors="replace")


@contextmanager
def running_box(
    *,
    dags: Path,
    folder: Path,
    environ: Mapping[str, str] | None = None,
    code: Path = ROOT,
) -> Iterator[RunningBox]:
    """Start an appliance, wait until it is healthy, and stop it in the end.

    Args:
        dags: The DAG folder.
        folder: Where the data folder and the output go.
        environ: Added to an environment without any setting of Airflow's, Temporal's or ours.
        code: The folder that has the package, of this version or another.
    """
    data = folder / "data"
    own = {**clean_environ(), "PYTHONPATH": str(code)}
    env = {**own, **ports(), **(environ or {})}
    env["APPLIANCE_DATA"] = str(data)
    env["AIRFLOW__CORE__DAGS_FOLDER"] = str(dags)
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "appliance", "up"],
            env=env,
            cwd=code,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    box = RunningBox(process, env, data, code)
    try:
        _wait_until_healthy(box)
        yield box
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def run(
    command: list[str],
    environ: Mapping[str, str],
    timeout_s: float,
    cwd: Path | None = None,
) -> Ended:
    """Run a command to its end."""
    done = subprocess.run(
        command,
        env=dict(environ),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def clean_environ() -> dict[str, str]:
    """Return this process's environment without settings of Airflow, Temporal and ours."""
    root = str(ROOT)
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(_OURS)
    }
    return {**kept, "PYTHONPATH": root, "APPLIANCE_CONF": f"{root}/conf/appliance.yaml"}


def ports() -> dict[str, str]:
    """Return settings with ports nobody uses."""
    names = ("APPLIANCE_PORT", "APPLIANCE_UI_PORT", "APPLIANCE_METRICS_PORT")
    return {name: str(free_port()) for name in names}


def _wait_until_healthy(box: RunningBox) -> None:
    deadline = time.monotonic() + START_S
    while (health := box.appliance("health")).code:
        told = f"{health.stdout}{health.stderr}"
        said = f"{told}\n{box.output()[-_LAST_CHARACTERS:]}"
        if box.process.poll() is not None:
            raise AssertionError(f"the appliance ended by itself:\n{said}")
        if time.monotonic() > deadline:
            raise AssertionError(f"not healthy after {START_S:.0f} s:\n{said}")
        time.sleep(_POLL_S)
