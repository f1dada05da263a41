"""What an operator of the image relies on: health, stops, volumes, upgrades, plain refusals."""

import time
from pathlib import Path

import pytest

from tests.image.container import Container, docker, rows, run, started, until, volume

pytestmark = [pytest.mark.needs_image, pytest.mark.timeout(180)]

DAGS = Path(__file__).parent / "dags"
KILL = (
    "import os, signal, sys\n"
    "for pid in filter(str.isdigit, os.listdir('/proc')):\n"
    "    words = open(f'/proc/{pid}/cmdline').read().split('\\0')\n"
    "    if words[-2:-1] == [sys.argv[1]] and 'appliance' in words:\n"
    "        os.kill(int(pid), signal.Signals[sys.argv[2]])\n"
)


def signal_part(box: Container, part: str, name: str) -> None:
    """Send a signal to the worker or the like, as ``kill`` would, which the image has not."""
    done = box.exec("python", "-c", KILL, part, name)
    assert done.code == 0, done.stderr


def test_health_follows_the_worker_of_this_container() -> None:
    with volume() as name, started("-v", f"{name}:/data") as box:
        until(lambda: "is ready" in box.logs(), box.logs)
        ready = time.monotonic()
        box.wait_until_well()
        assert time.monotonic() - ready < 3
        signal_part(box, "worker", "SIGSTOP")
        sick = box.exec("appliance-checkup")
        assert (sick.code, sick.stdout) == (1, "no answer: timed out\n")
        told = box.exec("appliance", "health")
        assert told.code == 3
        assert "worker    NOT OK: the worker of this box does not" in told.stdout
        signal_part(box, "worker", "SIGKILL")
        until(lambda: box.exec("appliance-checkup").code == 0, box.logs)


def test_a_part_that_cannot_stay_up_ends_the_container() -> None:
    broken = "/bin/false:/opt/appliance/bin/temporal:ro"
    with started("-v", broken) as box:
        assert box.ended() == 1
        assert box.last_error().startswith(
            "The appliance ends, temporal cannot stay up: it does not come up"
        )


def test_a_wrong_configuration_ends_the_container_with_2(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "appliance.yaml").write_text("wroker: {}\n")
    done = run("-v", f"{tmp_path}:/conf:ro")
    assert done.code == 2
    assert done.stderr == (
        "/conf/appliance.yaml:1:1: unknown key 'wroker', did you mean 'worker'?\n"
    )


def test_folders_of_somebody_else_are_named_with_two_ways_out(tmp_path: Path) -> None:
    for name, mode in (("data", 0o755), ("dags", 0o700), ("conf", 0o700)):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
    done = run("-v", f"{tmp_path}/conf:/conf")
    assert done.code == 2
    assert "/conf: cannot be read by user 10001 (/conf/appliance.yaml is" in done.stderr
    done = run("-v", f"{tmp_path}/data:/data", "-v", f"{tmp_path}/dags:/dags")
    assert done.code == 2
    assert done.stderr.splitlines() == [
        "/data: cannot be written by user 10001; it belongs to root (0:0), drwxr-xr-x.",
        "  Either run as its owner (docker run --user 0:0), or let user 10001 in "
        "(chown -R 10001 /data, or with Docker a named volume).",
        "/dags: cannot be read by user 10001; it belongs to root (0:0), drwx------.",
        "  Either run as its owner (docker run --user 0:0), or let user 10001 in "
        "(chmod -R a+rX /dags).",
    ]


def test_a_stop_loses_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with volume() as name:
        mounts = (f"{name}:/data", f"{DAGS}:/dags:ro", f"{tmp_path}:/gate")
        options = [word for mount in mounts for word in ("-v", mount)]
        with started(*options) as box:
            box.wait_until_well()
            assert box.exec("submit", "lasts", "--run-id", "one").code == 0
            until((tmp_path / "begun").exists, box.logs)
            began = time.monotonic()
            assert docker("stop", box.name).code == 0
            assert time.monotonic() - began < 10
            assert box.state["ExitCode"] == 0, box.logs()
        (tmp_path / "open").touch()
        with started(*options) as box:
            done = box.wait_until_well().exec(
                "appliance", "runs", "wait", "lasts", "one"
            )
            assert done.code == 0, done.stderr + box.logs()
            xcoms = rows(box.exec("appliance", "xcoms", "lasts", "one", "-o", "json"))
            assert [row["value"] for row in xcoms] == ["kept", ["kept", None]]
            assert len((tmp_path / "begun").read_text().split()) == 2


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ((), "/data is an anonymous volume, which"),
        (("--tmpfs", "/data:mode=777"), "/data is tmpfs, not a volume."),
    ],
)
def test_data_that_would_be_lost_is_warned_of(
    options: tuple[str, ...], why: str
) -> None:
    with started(*options) as box:
        said = f"WARNING   {why}"
        # The banner comes when the whole DAG folder has been read.
        until(lambda: said in box.logs(), box.logs)
        assert "data      /data  (NOT SAFE, see below)" in box.logs()
        assert said in box.exec("appliance", "health").stderr


COPIED = (
    "import sqlite3; "
    "print(sqlite3.connect('/data/backups/temporal-1.0.0-before-1.9.1.db')"
    ".execute('select count(*) from executions').fetchone()[0] > 0)"
)


def test_a_database_of_another_version_is_copied_first() -> None:
    with volume() as name:
        options = ("-v", f"{name}:/data")
        with started(*options) as box:
            done = box.wait_until_well().exec("submit", "my_dag", "--wait")
            assert done.code == 0, done.stderr
            assert box.exec("sh", "-c", "echo 1.0.0 > /data/temporal.version").code == 0
            docker("stop", box.name)
        with started(*options) as box:
            box.wait_until_well()
            copied = "WARNING   The database was of Temporal 1.0.0 and"
            until(lambda: copied in box.logs(), box.logs)
            assert box.exec("python", "-c", COPIED).stdout == "True\n"
            listed = box.exec("appliance", "runs", "list", "my_dag", "-o", "json")
            assert len(rows(listed)) == 1
            docker("stop", box.name)
        with started(*options) as box:
            assert "WARNING" not in box.wait_until_well().logs()


def test_a_container_that_is_stopped_at_once_ends_with_0() -> None:
    with started() as box:
        assert docker("stop", box.name).code == 0
        assert (box.state["ExitCode"], box.logs()) == (0, "")
