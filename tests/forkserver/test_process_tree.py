"""A child's family is told once each, wherever its members went."""

import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.forkserver.process_tree import signal_family

TELL = """
import os, signal, sys, time
out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
signal.signal(signal.SIGTERM, lambda *_: os.write(out, b"told\\n"))
os.write(out, b"ready\\n")
while True:
    time.sleep(60)
"""


@pytest.fixture
def family(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a shell in a group of its own, with a grandchild there and one below ``setsid``."""
    (tmp_path / "tell.py").write_text(TELL)
    tell = f"{sys.executable} {tmp_path}/tell.py {tmp_path}"
    script = f"(sh -c '{tell}/near; true') & setsid sh -c '{tell}/far; true' & wait"
    root = subprocess.Popen(["sh", "-c", script], process_group=0)
    wait_for(tmp_path / "near", "ready")
    wait_for(tmp_path / "far", "ready")
    yield root
    signal_family(root.pid, signal.SIGKILL)
    root.wait()


def wait_for(file: Path, word: str) -> None:
    for _ in range(600):
        if file.exists() and word in file.read_text():
            return
        select.select([], [], [], 0.05)
    raise AssertionError(f"{file.name} does not say {word}")


def test_each_is_signalled_once(
    family: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    signal_family(family.pid, signal.SIGTERM)
    wait_for(tmp_path / "near", "told")
    wait_for(tmp_path / "far", "told")

    assert (tmp_path / "near").read_text() == "ready\ntold\n"
    assert (tmp_path / "far").read_text() == "ready\ntold\n"
