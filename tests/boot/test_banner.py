"""What the box says of itself: banner, health, and whether its data is safe."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.boot import data_volume
from appliance.boot.banner import BannerFacts, banner
from appliance.boot.health import health
from appliance.config.model import (
    Config,
    Connection,
    DagSettings,
    Secrets,
    TemporalSettings,
)
from appliance.temporal.health import PartHealth, ProbeResult

CONFIG = Config(
    file=Path("/app/conf/appliance.yaml"),
    data=Path("/app/.appliance"),
    dags=DagSettings(folder=Path("/app/dags")),
    secrets=Secrets(connections={"c": Connection("c")}, variables={"a": "1", "b": "2"}),
)
OK = PartHealth(ok=True)
BAD = PartHealth(ok=False, why="nothing polls")


def test_line_ends_that_were_left_out_are_said() -> None:
    config = replace(CONFIG, is_in_environment=True, notes=("one", "two"))
    told = banner(config, BannerFacts("1.0", ()), cwd=Path("/app"))
    assert (
        "config    APPLIANCE_CONFIG: 1 connection, 2 variables; 2 line ends at the end "
        "of files left out, see appliance config check\n"
    ) in told


def test_banner(tmp_path: Path) -> None:
    config = replace(
        CONFIG,
        file=tmp_path / "appliance.yaml",
        data=tmp_path / ".appliance",
        dags=DagSettings(folder=tmp_path / "dags"),
        warnings=("TEMPORAL_HOST is an old name.",),
    )
    config.file.touch()
    facts = BannerFacts(
        version="0.1.0",
        dag_ids=["a_dag", "my_dag"],
        runnable=["a_dag", "my_dag"],
        import_errors=["broken.py:3: ModuleNotFoundError: no", "b", "c", "d"],
        seconds={"temporal": 0.4, "worker": 1.2},
        data_warning="/data is not a volume.",
        active=["my_dag"],
        paused=["a_dag", "nightly"],
    )
    assert banner(config, facts, cwd=tmp_path).splitlines() == [
        "appliance 0.1.0 is ready (temporal 0.4 s, worker 1.2 s)",
        "data      .appliance  (NOT SAFE, see below)",
        "config    appliance.yaml: 1 connection, 2 variables",
        "dags      dags: 2 DAGs, 4 import errors",
        "  broken.py:3: ModuleNotFoundError: no",
        "  b",
        "  c",
        "  and 1 more: appliance dags errors",
        "schedules 1 begin active, 2 paused; start one: appliance schedules resume a_dag",
        "temporal  127.0.0.1:7233, namespace default, task queue airflow-tasks, "
        "finished runs kept 30 days",
        "ui        http://localhost:8233",
        "metrics   http://localhost:9233/metrics",
        "worker    runs 4 tasks at once, 5 s to end at stop",
        "try       submit my_dag --follow",
        "WARNING   TEMPORAL_HOST is an old name.",
        "WARNING   /data is not a volume.",
    ]


def test_banner_of_a_worker_names_the_server_it_uses() -> None:
    temporal = TemporalSettings(address="other:7233", retention_s=3600)
    config = replace(CONFIG, role="worker", temporal=temporal)
    facts = BannerFacts(version="1", dag_ids=["b", "a", "0"], runnable=["b", "a"])
    text = banner(config, facts, cwd=Path("/x"))
    assert "temporal  other:7233" in text
    assert "http://" not in text
    assert "(not there, defaults)" in text
    assert "submit a --follow" in text


def test_no_dag_is_proposed_that_needs_more_than_its_id() -> None:
    text = banner(CONFIG, BannerFacts(version="1", dag_ids=["a"]), cwd=Path("/x"))
    assert "submit" not in text


@pytest.mark.parametrize(
    ("role", "server", "worker", "ok"),
    [
        ("all", OK, OK, True),
        ("all", OK, BAD, False),
        ("all", BAD, OK, False),
        ("server", OK, BAD, True),
        ("worker", OK, BAD, False),
    ],
)
def test_health_wants_every_part_of_this_box(
    role: str, server: PartHealth, worker: PartHealth, ok: bool
) -> None:
    async def probe() -> ProbeResult:
        return ProbeResult(server=server, worker=worker)

    found = asyncio.run(health(replace(CONFIG, role=role), probe))  # type: ignore[arg-type]
    assert found.ok is ok


def test_health_names_a_ui_that_does_not_answer() -> None:
    async def probe() -> ProbeResult:
        return ProbeResult(server=OK, worker=OK, ui=PartHealth(ok=False, why="gone"))

    found = asyncio.run(health(CONFIG, probe))
    assert (found.ok, found.lines[-1]) == (False, "ui        NOT OK: gone")


def test_health_fails_closed() -> None:
    async def broken() -> ProbeResult:
        raise ConnectionError("refused")

    async def silent() -> ProbeResult:
        await asyncio.Event().wait()
        raise AssertionError

    found = asyncio.run(health(CONFIG, broken))
    assert not found.ok
    assert found.lines == ("temporal  NOT OK: refused", "worker    NOT OK: refused")
    found = asyncio.run(health(CONFIG, silent, timeout_s=0.01))
    assert not found.ok
    assert found.lines[0] == "temporal  NOT OK: no answer within 0.01 s"


ROOT = "1 0 0:50 / / rw - overlay overlay rw\n"
ANONYMOUS = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("mount", "why"),
    [
        ("", "/data is not a volume."),
        ("2 1 0:51 / /data rw - tmpfs tmpfs rw", "/data is tmpfs, not a volume."),
        (
            f"2 1 8:1 /docker/volumes/{ANONYMOUS}/_data /data rw - ext4 /dev/sda rw",
            "/data is an anonymous volume",
        ),
        ("2 1 8:1 /docker/volumes/mine/_data /data rw - ext4 /dev/sda rw", None),
        ("2 1 8:1 /home/me/data /data rw shared:7 - ext4 /dev/sda rw", None),
        ("2 1 8:1 /home/me/data /database rw - ext4 /dev/sda rw", "/data is not a vol"),
    ],
)
def test_where_the_data_of_a_container_is(mount: str, why: str | None) -> None:
    said = data_volume.warning(ROOT + mount, Path("/data"))
    assert (said is None) if why is None else (said or "").startswith(why)
