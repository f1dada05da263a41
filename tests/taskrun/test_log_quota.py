"""Logs beyond the quota go, those of the oldest runs first."""

import os
from pathlib import Path

from appliance.taskrun.log_paths import log_file
from appliance.taskrun.log_quota import trim


def write(data: Path, run_id: str, *, at: float) -> Path:
    file = data / log_file("shop", run_id, "sum", map_index=-1, try_number=1)
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x" * 100_000)
    os.utime(file, (at, at))
    return file


def test_the_logs_of_the_oldest_runs_go(tmp_path: Path) -> None:
    files = [write(tmp_path, f"run{at}", at=at) for at in (3, 1, 2, 4)]

    assert trim(tmp_path, 320_000) == 2

    assert [file.exists() for file in files] == [True, False, False, True]
    assert trim(tmp_path, 320_000) == 0


def test_the_run_that_wrote_last_keeps_its_log(tmp_path: Path) -> None:
    files = [write(tmp_path, f"run{at}", at=at) for at in (1, 2)]

    assert trim(tmp_path, 10) == 1

    assert [file.exists() for file in files] == [False, True]


def test_without_logs_there_is_nothing_to_do(tmp_path: Path) -> None:
    assert trim(tmp_path, 0) == 0
