"""A disk that runs full stops nothing that has begun, ruins nothing, and is told of in time."""

import json
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.box import running_box
from tests.faults.processes import until
from tests.faults.test_faults import DAGS

pytestmark = [pytest.mark.needs_server, pytest.mark.timeout(240)]

MB = 1_000_000


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of 40 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk has to be mounted: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, *, leave: int) -> None:
    """Write until so many bytes are free."""
    with (folder / "ballast").open("ab", buffering=0) as ballast:
        while (more := shutil.disk_usage(folder).free - leave) > 0:
            os.posix_fallocate(ballast.fileno(), ballast.tell(), more)
            ballast.seek(0, os.SEEK_END)


def test_a_full_disk_is_told_of_and_ruins_nothing(small: Path, tmp_path: Path) -> None:
    conf = tmp_path / "appliance.yaml"
    conf.write_text("disk: {floor: 10MB}\n")
    (small / "data").mkdir()
    (tmp_path / "data").symlink_to(small / "data")
    # What the appliance prints goes to the same disk.
    (small / "up.log").touch()
    (tmp_path / "up.log").symlink_to(small / "up.log")
    given = ("gated", "--conf", json.dumps({"folder": str(tmp_path)}))
    environ = {"APPLIANCE_CONF": str(conf)}
    with running_box(dags=DAGS, folder=tmp_path, environ=environ) as box:
        assert box.submit(*given, "--run-id", "before").code == 0
        until("it has begun", (tmp_path / "waits.began").exists)

        fill(small, leave=5 * MB)
        refused = box.submit(*given, "--run-id", "refused")
        assert refused.code == 2
        assert refused.stderr.startswith(f"{tmp_path}/data: only ")
        told = box.appliance("health")
        assert told.code == 3
        assert "room      NOT OK: " in told.stdout

        fill(small, leave=0)
        assert box.appliance("health").code == 3
        (small / "ballast").unlink()
        (tmp_path / "open").touch()

        waited = ("runs", "wait", "gated", "before", "-o", "json")
        report = box.appliance(*waited, timeout_s=150).json
        assert report["state"] == "success"
        assert {row["try_number"] for row in report["tasks"]} == {1}
        done = box.submit(*given, "--run-id", "after", "--wait", timeout_s=150)
        assert done.code == 0, done.stderr
    with closing(sqlite3.connect(tmp_path / "data" / "temporal.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
