"""A disk that runs full stops nothing that has begun, ruins nothing, and is told of in time."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.box import RunningBox, clean_environ, run, running_box
from tests.faults.processes import until
from tests.faults.test_faults import DAGS

pytestmark = [pytest.mark.long, pytest.mark.needs_server, pytest.mark.timeout(240)]

MB = 1_000_000


@contextmanager
def mounted(folder: Path, *words: str) -> Iterator[Path]:
    """Mount a file system; a machine where that is not allowed cannot run the test."""
    folder.mkdir()
    command = ["mount", *words, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a file system has to be mounted: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a file system of 40 MB in it, ``small``, and ``dags``, which cannot be written to."""
    folder = tmp_path_factory.mktemp("disk")
    small = ("-t", "tmpfs", "-o", "size=40m", "tmpfs")
    with (
        mounted(folder / "small", *small),
        mounted(folder / "dags", "--bind", str(DAGS)),
    ):
        remount = ["mount", "-o", "remount,bind,ro", str(folder / "dags")]
        subprocess.run(remount, check=True)
        yield folder


@pytest.fixture(scope="module")
def box(folder: Path) -> Iterator[RunningBox]:
    """A box whose data and output are on the small file system."""
    small, conf = folder / "small", folder / "appliance.yaml"
    conf.write_text("disk: {floor: 10MB}\n")
    (small / "data").mkdir()
    (folder / "data").symlink_to(small / "data")
    (small / "up.log").touch()
    (folder / "up.log").symlink_to(small / "up.log")
    environ = {"APPLIANCE_CONF": str(conf), "PYTHONDONTWRITEBYTECODE": ""}
    dags = folder / "dags"
    with running_box(dags=dags, folder=folder, environ=environ) as started:
        yield started


def fill(folder: Path, *, leave: int) -> None:
    """Write until so many bytes are free."""
    with (folder / "ballast").open("ab", buffering=0) as ballast:
        while (more := shutil.disk_usage(folder).free - leave) > 0:
            os.posix_fallocate(ballast.fileno(), ballast.tell(), more)
            ballast.seek(0, os.SEEK_END)


def test_a_box_does_not_start_on_a_full_disk(folder: Path) -> None:
    fill(folder / "small", leave=0)
    environ = {**clean_environ(), "APPLIANCE_DATA": str(folder / "small" / "full")}

    done = run([sys.executable, "-m", "appliance", "up"], environ, 60.0)

    (folder / "small" / "ballast").unlink()
    assert done.code == 2
    assert "small/full: 0 B of disk space are free there, too little" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dag_folder_that_cannot_be_written_to_will_do(
    box: RunningBox, folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(OSError, match="Read-only"):
        (folder / "dags" / "file").touch()
    conf = json.dumps({"folder": str(tmp_path)})

    done = box.submit("counted_once", "--conf", conf, "--wait", timeout_s=150)

    assert done.code == 0, done.stderr


def test_a_full_disk_is_told_of_and_ruins_nothing(
    box: RunningBox, folder: Path, tmp_path: Path
) -> None:
    small = folder / "small"
    given = ("gated", "--conf", json.dumps({"folder": str(tmp_path)}))
    assert box.submit(*given, "--run-id", "before").code == 0
    until("it has begun", (tmp_path / "waits.began").exists)

    fill(small, leave=5 * MB)
    refused = box.submit(*given, "--run-id", "refused")
    assert refused.code == 2
    assert refused.stderr.startswith(f"{folder}/data: only ")
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
    with closing(sqlite3.connect(folder / "data" / "temporal.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
