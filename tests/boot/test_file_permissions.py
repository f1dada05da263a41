"""What the other accounts of the machine, and parts that need no secret, can see of a box: nothing."""

import os
import stat
from pathlib import Path

import pytest

from appliance.boot.file_permissions import close
from tests.box import RunningBox
from tests.faults.processes import the_one

LEFT = ("temporal.db", "temporal.db-wal", "up.log", "logs/a/attempt=1.log", "xcom/x")
ENVIRONMENTS = {
    "temporal server start-dev": {
        *("HOME", "USER", "GOMEMLIMIT", "TMPDIR", "TZ", "GOMAXPROCS")
    },
    "appliance.boot.ui_guard": {"TZ"},
}


def readable(folder: Path) -> list[str]:
    """Return the files that others may read, by their path in the folder."""
    if not folder.stat().st_mode & stat.S_IXOTH:
        return []
    found = []
    for path in folder.iterdir():
        if path.is_dir():
            found += [f"{path.name}/{name}" for name in readable(path)]
        elif path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
            found.append(path.name)
    return found


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """Make a data folder as an earlier version left it."""
    for name in LEFT:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("secret")
    tmp_path.chmod(0o755)
    assert sorted(readable(tmp_path)) == sorted(LEFT)
    return tmp_path


def test_a_data_folder_from_before_is_closed(before: Path) -> None:
    close(before)
    assert stat.S_IMODE(before.stat().st_mode) == 0o700


def test_in_a_folder_for_any_user_what_runs_left_is_closed(before: Path) -> None:
    before.chmod(0o777)
    close(before)
    assert stat.S_IMODE(before.stat().st_mode) == 0o777
    assert readable(before) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another's folder")
def test_a_folder_of_somebody_else_stays_as_it_is(before: Path) -> None:
    os.chown(before, 12345, 12345)
    close(before)
    assert stat.S_IMODE(before.stat().st_mode) == 0o755
    assert readable(before) == []


@pytest.mark.needs_server
@pytest.mark.timeout(120)
def test_the_data_folder_of_a_box_is_its_own(box: RunningBox) -> None:
    assert stat.S_IMODE(box.data.stat().st_mode) == 0o700
    assert stat.S_IMODE((box.data / "temporal.db").stat().st_mode) == 0o600


@pytest.mark.needs_server
@pytest.mark.timeout(120)
@pytest.mark.parametrize("part", ENVIRONMENTS)
def test_a_part_that_needs_no_secret_has_no_environment(
    box: RunningBox, part: str
) -> None:
    pid = the_one(box.process.pid, part)
    environ = Path(f"/proc/{pid}/environ").read_bytes().decode()
    names = {line.partition("=")[0] for line in environ.split("\0") if line}
    assert names <= ENVIRONMENTS[part]
    assert "APPLIANCE_DATA" in box.environ
