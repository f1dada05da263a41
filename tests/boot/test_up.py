"""What is looked at before the start, and what is said of it."""

import fcntl
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from appliance.boot.preflight import NotReady, check
from appliance.boot.run_folder import (
    AlreadyRunning,
    holder,
    locked,
    note_begin,
    refuse_second,
    take_begin,
)
from appliance.boot.up import down
from appliance.config.model import Config, DagSettings, TemporalSettings

Half = Literal["server", "worker"]


def box(tmp_path: Path, port: int = 0) -> Config:
    """Make a configuration whose ports are free: 0 stands for any."""
    (tmp_path / "dags").mkdir(exist_ok=True)
    return Config(
        file=tmp_path / "appliance.yaml",
        data=tmp_path / "data",
        dags=DagSettings(folder=tmp_path / "dags", plugins_folder=tmp_path / "none"),
        temporal=TemporalSettings(port=port, ui_port=0, metrics_port=0),
    )


def reasons(config: Config, platform: str = "linux") -> str:
    with pytest.raises(NotReady) as caught:
        check(config, platform=platform)
    return str(caught.value)


def test_all_is_well_and_the_data_folder_is_made(tmp_path: Path) -> None:
    check(box(tmp_path), platform="linux")
    assert (tmp_path / "data").is_dir()


def test_elsewhere_than_linux_the_container_is_the_way(tmp_path: Path) -> None:
    assert "Run the container image instead" in reasons(box(tmp_path), "darwin")


def test_taken_port_is_named_with_the_settings_to_change(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = reasons(box(tmp_path, port))
    assert said == (
        f"port {port} on 127.0.0.1, meant for Temporal, is taken by another program. "
        "Free it, or set APPLIANCE_PORT (temporal.port in appliance.yaml)."
    )


def test_a_box_without_a_server_needs_no_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = box(tmp_path, taken.getsockname()[1])
        temporal = replace(config.temporal, address="other:7233")
        check(replace(config, temporal=temporal), platform="linux")


def test_every_reason_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    config = box(tmp_path)
    config = replace(config, dags=replace(config.dags, folder=tmp_path / "nope"))
    assert reasons(config).splitlines() == [
        f"{tmp_path}/data: is a file, but the data folder has to be there.",
        f"{tmp_path}/nope: does not exist, but the DAG files have to be there. Make it, "
        "or set AIRFLOW__CORE__DAGS_FOLDER.",
    ]


CHECK_AS_ANOTHER = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from appliance.boot.preflight import NotReady, check
from appliance.config.model import Config, DagSettings, TemporalSettings
"".encode("idna")  # What is imported later may be closed to another user.
os.setgid(12345); os.setuid(12345)
root = Path(sys.argv[1])
dags = DagSettings(folder=root / "dags", plugins_folder=root / "none")
temporal = TemporalSettings(port=0, ui_port=0, metrics_port=0)
try:
    check(Config(root / "c", root / "data", dags=dags, temporal=temporal),
          platform="linux")
except NotReady as err:
    print(err)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_folders_of_somebody_else(tmp_path: Path) -> None:
    for name, mode in (("data", 0o755), ("dags", 0o700)):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(mode)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    source = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", CHECK_AS_ANOTHER, str(tmp_path), source],
        capture_output=True,
        text=True,
        check=False,
    )
    data, dags = tmp_path / "data", tmp_path / "dags"
    assert done.stdout.splitlines() == [
        f"{data}: cannot be written by user 12345; it belongs to root (0:0), drwxr-xr-x.",
        "  Either run as its owner (docker run --user 0:0), or let user 12345 in "
        f"(chown -R 12345 {data}, or with Docker a named volume).",
        f"{dags}: cannot be read by user 12345; it belongs to root (0:0), drwx------.",
        "  Either run as its owner (docker run --user 0:0), or let user 12345 in "
        f"(chmod -R a+rX {dags}).",
    ], done.stderr

    tmp_path.chmod(0o700)
    done = subprocess.run(
        [sys.executable, "-c", CHECK_AS_ANOTHER, str(tmp_path), source],
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"{tmp_path}: cannot be read by user 12345 ({data} is wanted)" in done.stdout


def test_one_appliance_a_data_folder(tmp_path: Path) -> None:
    config = box(tmp_path)
    assert holder(config.data) is None
    with locked(config):
        assert holder(config.data) == os.getpid()
        with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"):
            refuse_second(config)
        with pytest.raises(AlreadyRunning), locked(config):
            pass
    assert holder(config.data) is None
    refuse_second(config)


def test_who_asks_whether_an_appliance_is_up_keeps_none_from_starting(
    tmp_path: Path,
) -> None:
    """`appliance health`, asked all the time by several, and twenty starts meanwhile."""
    config = box(tmp_path)
    with locked(config):
        pass
    ask = (
        "import pathlib, sys; from appliance.boot.run_folder import holder\n"
        "while True: print(holder(pathlib.Path(sys.argv[1])), flush=True)"
    )
    command = [sys.executable, "-c", ask, str(config.data)]
    asking = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    try:
        for one in asking:
            assert one.stdout is not None
            assert one.stdout.readline() == "None\n", "an asker is taken for it"
        for _ in range(20):
            with locked(config):
                assert holder(config.data) == os.getpid()
    finally:
        for one in asking:
            one.kill()
            said, _ = one.communicate()
            assert set(said.split()) <= {"None", str(os.getpid())}


@pytest.mark.parametrize("role", ["server", "worker"])
def test_one_server_and_one_worker_a_data_folder(tmp_path: Path, role: Half) -> None:
    """Whichever containers: two workers would report each other's tries as lost."""
    config = box(tmp_path)
    other: Half = "worker" if role == "server" else "server"
    path = config.data / "run" / f"{role}.lock"
    path.parent.mkdir(parents=True)
    with path.open("w") as of_another_container:
        fcntl.flock(of_another_container, fcntl.LOCK_EX)
        with pytest.raises(AlreadyRunning), locked(config):
            pass
        with locked(replace(config, role=other)):
            pass


def test_what_ended_containers_left_is_removed(tmp_path: Path) -> None:
    config = box(tmp_path)
    for name in ("ended", "running"):
        (config.data / "run" / name).mkdir(parents=True)
        (config.data / "run" / name / "lock").write_text("1\n")
    with (config.data / "run" / "running" / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with locked(config) as folder:
            assert not (config.data / "run" / "ended").exists()
            assert (config.data / "run" / "running").exists()
            assert folder.exists()


def test_a_key_file_elsewhere_needs_its_folder(tmp_path: Path) -> None:
    config = replace(box(tmp_path), key_path=tmp_path / "none" / "keys")
    assert reasons(config) == (
        f"{tmp_path}/none: does not exist, but APPLIANCE_KEY_FILE is to be there."
    )


def test_begin_of_a_start_is_told_to_its_first_child_and_to_nobody_else(
    tmp_path: Path,
) -> None:
    config = box(tmp_path)
    ask = (
        "import pathlib, sys; from appliance.boot.run_folder import take_begin; "
        "print(take_begin(pathlib.Path(sys.argv[1])))"
    )
    command = [sys.executable, "-c", ask, str(config.data)]
    with locked(config) as folder:
        note_begin(folder, 1.5)
        mine = take_begin(config.data)
        told = [subprocess.check_output(command, text=True).strip() for _ in range(2)]

    assert (mine, *told) == (None, "1.5", "None")


def test_down_without_an_appliance_says_so(tmp_path: Path) -> None:
    assert down(box(tmp_path)) is False


def test_the_process_that_supervises_the_others_loads_neither_asyncio_nor_airflow() -> (
    None
):
    code = (
        "import sys, appliance.boot.up\n"
        "print({'asyncio', 'airflow', 'temporalio'} & set(sys.modules) or '')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )

    assert done.stdout.strip() == ""
