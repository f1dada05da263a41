"""supervisord's configuration, and what becomes of programs that do not stay up."""

import configparser
import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.boot.supervision import RestartLimit
from appliance.boot.supervisord import Programs, render
from appliance.config.model import (
    Config,
    Connection,
    Secrets,
    TemporalSettings,
    WorkerSettings,
)
from appliance.errors import ConfigError

CONFIG = Config(file=Path("/conf/appliance.yaml"), data=Path("/data"))
PROGRAMS = Programs(
    python=Path("/v/python"),
    temporal=Path("/v/temporal"),
    run=Path("/data/run"),
    ui=("127.1.2.3", 999),
)

SUPERVISE = """
import sys
from pathlib import Path
from appliance.boot.supervision import supervise
reason = supervise(Path(sys.argv[1]), cannot_start=lambda: False)
sys.exit(f"because {reason}" if reason else 0)
"""


def parsed(config: Config) -> configparser.RawConfigParser:
    found = configparser.RawConfigParser()
    found.read_string(render(config, PROGRAMS, is_root=False))
    return found


@pytest.mark.parametrize(
    ("role", "address", "programs"),
    [
        ("all", None, ["temporal", "guard", "worker"]),
        ("server", None, ["temporal", "guard", "prepare"]),
        ("all", "other:7233", ["worker"]),
        ("worker", "other:7233", ["worker"]),
    ],
)
def test_programs_of_a_role(
    role: str, address: str | None, programs: list[str]
) -> None:
    temporal = TemporalSettings(address=address)
    config = replace(CONFIG, role=role, temporal=temporal)  # type: ignore[arg-type]
    sections = parsed(config).sections()
    assert [name for name in sections if ":" in name] == [
        f"program:{name}" for name in programs
    ]


def test_the_server_is_durable_fast_and_frugal() -> None:
    section = parsed(CONFIG)["program:temporal"]
    command = section["command"]
    for part in (
        "--db-filename /data/temporal.db",
        "--sqlite-pragma journal_mode=wal --sqlite-pragma synchronous=full",
        "--dynamic-config-value history.transferProcessorMaxPollRPS=1000",
        "--ip 127.0.0.1 --port 7233 --ui-ip 127.1.2.3 --ui-port 999",
        "--metrics-port 9233",
    ):
        assert part in command
    assert section["environment"] == 'HOME="/data",USER="appliance",GOMEMLIMIT="384MiB"'


def test_the_worker_stops_first_and_gets_its_grace() -> None:
    config = replace(CONFIG, worker=WorkerSettings(grace_s=29.5))
    found = parsed(config)
    assert found["program:worker"]["stopwaitsecs"] == "32"
    # supervisord stops in reverse order of priority.
    worker = int(found["program:worker"]["priority"])
    assert worker > int(found["program:temporal"]["priority"])


def test_no_secret_is_rendered() -> None:
    connection = Connection(conn_id="c", password="canary", extra="canary")  # noqa: S106
    secrets = Secrets(connections={"c": connection}, variables={"v": "canary"})
    environment = {"AIRFLOW_CONN_X": "canary"}
    config = replace(CONFIG, secrets=secrets, airflow_env=environment)
    assert "canary" not in render(config, PROGRAMS, is_root=False)


def test_odd_paths_survive() -> None:
    data = Path("/my data/100%/it's")
    section = parsed(replace(CONFIG, data=data))["program:temporal"]
    command = shlex.split(section["command"].replace("%%", "%"))
    assert command[command.index("--db-filename") + 1] == f"{data}/temporal.db"


@pytest.mark.parametrize("data", ["/a #b", "/a ;b", "/a\nb"])
def test_paths_supervisord_would_cut_are_refused(data: str) -> None:
    with pytest.raises(ConfigError, match="cannot hold"):
        render(replace(CONFIG, data=Path(data)), PROGRAMS, is_root=False)


def test_a_part_that_keeps_ending_is_given_up() -> None:
    limit = RestartLimit()
    ends = [limit.ended("worker", now_s=at) for at in (0, 60, 120, 180)]
    assert ends == [None] * 4
    assert limit.ended("temporal", now_s=200) is None
    assert limit.ended("worker", now_s=240) == "it ended 5 times within 5 minutes"


def test_rare_ends_are_not_counted_together() -> None:
    limit = RestartLimit()
    ends = [limit.ended("worker", now_s=at * 100.0) for at in range(20)]
    assert ends == [None] * 20


TETHER = """\
if [ "$2" = appliance.boot.die_with_parent ]; then
  shift 2
  case $1 in --only=*) shift ;; esac
  exec "$@"
fi
case "$*" in *appliance.boot.ui_guard*) exec sleep 60 ;; esac
"""
"""What the interpreter in front of each program does, without tying it to us."""


def started(tmp_path: Path, temporal: str, worker: str) -> subprocess.Popen[str]:
    programs = Programs(
        python=script(tmp_path / "python", TETHER + worker),
        temporal=script(tmp_path / "temporal", temporal),
        run=tmp_path,
        ui=PROGRAMS.ui,
    )
    conf = tmp_path / "supervisord.conf"
    is_root = os.geteuid() == 0
    config = replace(CONFIG, data=tmp_path)
    conf.write_text(render(config, programs, is_root=is_root))
    return subprocess.Popen(
        [sys.executable, "-c", SUPERVISE, str(conf)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.mark.timeout(60)
def test_a_part_that_cannot_start_ends_the_box_with_1(tmp_path: Path) -> None:
    process = started(tmp_path, "exec sleep 60", "echo no luck; exit 7")
    output, _ = process.communicate(timeout=40)
    assert process.returncode == 1
    assert output.count("no luck") == 4
    assert "worker cannot stay up: it does not come up" in output.splitlines()[-1]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_an_orderly_stop_ends_the_worker_first_and_exits_0(
    tmp_path: Path, stop: signal.Signals
) -> None:
    log = tmp_path / "log"

    def body(name: str) -> str:
        told = f"echo {name} stops >> {log}; exit 0"
        return (
            f"trap '{told}' TERM INT; echo {name} up >> {log}\n"
            "while true; do sleep 0.1; done"
        )

    process = started(tmp_path, body("temporal"), body("worker"))
    deadline = time.monotonic() + 20
    while not log.exists() or len(log.read_text().splitlines()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(stop)
    process.communicate(timeout=20)
    assert process.returncode == 0
    assert log.read_text().splitlines()[2:] == ["worker stops", "temporal stops"]
