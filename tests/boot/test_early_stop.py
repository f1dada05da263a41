"""An appliance that is told to stop while it starts ends with 0, whatever it was about."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.box import clean_environ, ports
from tests.faults.processes import family

pytestmark = [pytest.mark.long, pytest.mark.needs_server, pytest.mark.timeout(120)]


def hears(pid: int, _data: Path) -> bool:
    """Whether a process has a handler for SIGTERM."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("SigCgt:")]
    return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def has_begun(_pid: int, data: Path) -> bool:
    return any(data.glob("run/*/lock"))


def has_children(pid: int, _data: Path) -> bool:
    return bool(Path(f"/proc/{pid}/task/{pid}/children").read_text())


def has_database(_pid: int, data: Path) -> bool:
    return (data / "temporal.db").exists()


def imports_airflow(pid: int, _data: Path) -> bool:
    return any("appliance.forkserver.zygote" in words for words in family(pid).values())


@pytest.mark.parametrize(
    ("command", "is_time"),
    [
        ("up", hears),
        ("up", has_begun),
        ("up", has_children),
        ("up", has_database),
        ("up", imports_airflow),
        ("worker", hears),
    ],
)
def test_sigterm_ends_a_start_with_0(
    tmp_path: Path, command: str, is_time: Callable[[int, Path], bool]
) -> None:
    data = tmp_path / "data"
    environ = {**clean_environ(), **ports(), "APPLIANCE_DATA": str(data)}
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "appliance", command],
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
    try:
        deadline = time.monotonic() + 30
        while not is_time(process.pid, data):
            assert time.monotonic() < deadline
            assert process.poll() is None
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(40) == 0, (tmp_path / "said").read_text()
    finally:
        process.kill()
    text = (tmp_path / "said").read_text()
    assert "Traceback" not in text
    if is_time is imports_airflow:
        assert "SIGKILL" not in text, "the worker has to hear it, too"
