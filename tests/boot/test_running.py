"""A box that runs: its configuration is saved, its logs are followed."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.box import RunningBox, running_box
from tests.conftest import ROOT

pytestmark = [pytest.mark.needs_server, pytest.mark.timeout(180)]

DAGS = Path(__file__).with_name("dags")
CONF = """\
variables: {{colour: {colour}}}
connections:
  db: {{password: !file pw}}
  log_store: {{conn_type: aws, host: {store}, password: s3cret-key}}
"""
PATIENCE_S = 60.0
CALLED = "dag_id=chatters/run_id=up/on_success_callback.log"
LEFT = ("logs/dag_id=d/run_id=r/task_id=t/attempt=1.log", "xcom/d/r/t/x.json")
"""What a run left that the server has no longer."""
TRIES = ((0, 1), (1, 1), (1, 2))
"""Map index and number of the tries of ``chatter``."""
WHY_TORN = "the plugin cannot be imported: No module named 'nothing_like_it'"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("running")


@pytest.fixture(scope="module")
def box(folder: Path) -> Iterator[RunningBox]:
    (folder / "pw").write_text("from-a-file\n")
    save(folder, "red")
    for path in LEFT:
        file = folder / "data" / path
        file.parent.mkdir(parents=True)
        file.write_text("{}")
        for one in (file, *file.parents[:3]):
            os.utime(one, (1, 1))
    (folder / "plugins").mkdir()
    (folder / "plugins" / "torn.py").write_text("import nothing_like_it\n")
    environ = {
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(folder / "plugins"),
        "APPLIANCE_CONF": str(folder / "appliance.yaml"),
        "AIRFLOW__LOGGING__REMOTE_LOGGING": "True",
        "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER": "s3://bucket/logs",
        "AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID": "log_store",
        "PYTHONPATH": f"{ROOT}:{ROOT}/tests/fakes/amazon",
    }
    with running_box(dags=DAGS, folder=folder, environ=environ) as running:
        yield running


def save(folder: Path, colour: str, more: str = "", store: str = "") -> None:
    text = CONF.format(colour=colour, store=store or folder / "store") + more
    (folder / "appliance.yaml").write_text(text)


def test_what_runs_left_goes_with_them_and_health_tells_the_disk(
    box: RunningBox,
) -> None:
    until(lambda: "deleted logs and XComs of 1 run" in box.output())
    assert not any((box.data / path).exists() for path in LEFT)
    health = box.appliance("health").stdout.splitlines()
    assert re.fullmatch(r"disk +database [\d.]+ [kM]B.*; .* free", health[-1])


def test_banner_counts_from_the_start_of_the_box(box: RunningBox) -> None:
    pattern = r"is ready \(temporal (\S+) s, airflow (\S+) s, all (\S+) s\)"
    until(lambda: re.search(pattern, box.output()) is not None)
    (told,) = re.findall(pattern, box.output())
    server_s, airflow_s, all_s = map(float, told)
    assert server_s <= airflow_s <= all_s
    assert not list(box.data.glob("run/*/began"))  # That is what it counted from.


def test_a_plugin_that_cannot_be_imported_is_an_import_error_and_keeps_nobody(
    box: RunningBox, folder: Path
) -> None:
    """As in Airflow, which goes on without it."""
    file = f"{folder}/plugins/torn.py"
    until(lambda: "is ready" in box.output())
    assert f"  {file}: {WHY_TORN}\n" in box.output()
    assert f"{file}\n    {WHY_TORN}\n" in box.appliance("dags", "errors").stdout


def settings(box: RunningBox) -> Any:
    """Return what a task finds the settings to be."""
    ended = box.submit("says_settings", "--wait", "-o", "json")
    run_id = ended.json["run_id"]
    (row,) = box.appliance("xcoms", "says_settings", run_id, "-o", "json").json
    return row["value"]


@pytest.mark.long
def test_tasks_run_in_virtual_environments_with_our_packages_or_none(
    box: RunningBox,
) -> None:
    """Also when ours are in one themselves, and nothing is fetched that is here."""
    run = box.submit("virtual_environments", "--run-id", "one", "--wait", "-o", "json")
    assert run.code == 0, run.stdout
    rows = box.appliance("xcoms", "virtual_environments", "one", "-o", "json").json
    assert {row["task_id"]: row["value"] for row in rows} == {
        "alone": [2, True, False],
        "with_airflow": [True, "red"],
        "elsewhere": [[2, True, False], "red"],
    }


def until(fact: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_saved_file_is_in_force_and_a_bad_one_is_not(
    box: RunningBox, folder: Path
) -> None:
    first = settings(box)
    assert first == {"colour": "red", "connection": "from-a-file", "whole": None}

    save(folder, "green", "temporal: {task_queue: other}")
    told = "in force now: variables; needs a restart: temporal.task_queue"
    until(lambda: told in box.output())
    pending = box.appliance("health").stderr
    assert "Needs a restart to be in force: temporal.task_queue." in pending
    assert settings(box)["colour"] == "green"

    save(folder, "blue", "rol: x")
    until(lambda: "saved with mistakes; nothing changes" in box.output())
    assert settings(box)["colour"] == "green"
    health = box.appliance("health")
    assert health.code == 0
    assert "saved with mistakes and is not in force" in health.stderr
    save(folder, "green")
    until(lambda: "without mistakes again" in box.output())
    assert box.output().count("saved with mistakes") == 1


def test_logs_of_mapped_tasks_and_retries_are_followed(
    box: RunningBox, folder: Path
) -> None:
    gate = folder / "gate"
    run = box.submit(
        "chatters", "--conf", json.dumps({"gate": str(gate)}), "-o", "json"
    )
    run_id = run.json["run_id"]
    command = [sys.executable, "-m", "appliance", "logs", "chatters", run_id]
    with (folder / "followed").open("wb") as file:
        following = subprocess.Popen(
            [*command, "--follow"], env=dict(box.environ), stdout=file
        )
    lines = (folder / "followed").read_text
    until(lambda: "chatter[1] try 2 | " in lines())
    assert "the gate is open" not in lines()
    gate.touch()
    assert following.wait(PATIENCE_S) == 0

    said = [line for line in lines().splitlines() if "speaks" in line]
    assert sorted(line.split(" | ")[0] for line in said) == [
        "chatter[0] try 1",
        "chatter[1] try 1",
        "chatter[1] try 2",
    ]
    assert "wait try 1 | " in lines()
    assert lines().count("the gate is open") == 1
    error = lines()[: lines().index("ValueError: not this")].splitlines()[-3:]
    assert error[0].endswith(", in chatter")
    assert error[1].endswith('raise ValueError("not this time")')
    assert "/airflow/sdk/" not in lines()

    raw = box.appliance("logs", "chatters", run_id, "wait", "-o", "json").stdout
    events = [json.loads(line) for line in raw.splitlines()]
    assert {event["task_id"] for event in events} == {"wait"}
    assert "the gate is open" in [event["event"] for event in events]


def test_logs_are_uploaded_as_airflow_is_told_to(box: RunningBox, folder: Path) -> None:
    gate = folder / "open"
    gate.touch()
    conf = json.dumps({"gate": str(gate)})
    run = box.submit("chatters", "--conf", conf, "--run-id", "up", "--follow")
    assert run.code == 0
    for index, attempt in TRIES:
        said = f"number {index + 1} speaks in try {attempt}"
        mark = re.escape(f"chatter[{index}] try {attempt} | ")
        assert re.search(f"^{mark}.*{said}$", run.stdout, re.MULTILINE)
    assert "chatter[1] try 2: success" in run.stdout
    logs = Path("dag_id=chatters/run_id=up/task_id=chatter")
    store, local = folder / "store/bucket/logs" / logs, box.data / "logs" / logs
    names = [f"map_index={index}/attempt={attempt}" for index, attempt in TRIES]
    for name, (index, attempt) in zip(names, TRIES, strict=True):
        of = store / f"{name}.of"
        until(of.exists)
        assert of.read_text() == f"chatter {index} {attempt}\n"
        kept = (local / f"{name}.log").read_text()
        assert (store / f"{name}.log").read_text() == kept
        events = [json.loads(line)["event"] for line in kept.splitlines()]
        shown = (local / f"{name}.shown").read_text().splitlines()
        assert [json.loads(line) for line in shown] == events


def test_what_a_trigger_writes_is_uploaded(box: RunningBox, folder: Path) -> None:
    assert box.submit("defers", "--run-id", "up", "--wait").code == 0
    log = Path("dag_id=defers/run_id=up/task_id=waits/attempt=1.log")
    store, local = folder / "store/bucket/logs" / log, box.data / "logs" / log

    def is_complete() -> bool:
        return store.exists() and "the trigger has spoken" in store.read_text()

    until(is_complete)
    assert store.read_text() == local.read_text()
    events = [json.loads(line)["event"] for line in local.read_text().splitlines()]
    assert "the task speaks" in events
    assert "the trigger speaks" in events
    shown = local.with_suffix(".shown").read_text().splitlines()
    assert [json.loads(line) for line in shown] == events


def test_health_warns_of_a_plugin_that_cannot_be_imported_and_is_well(
    box: RunningBox, folder: Path
) -> None:
    health = box.appliance("health")
    assert health.code == 0
    assert "\nworker    ok\n" in health.stdout
    assert f"WARNING   {folder}/plugins/torn.py: {WHY_TORN}\n" in health.stderr


def test_an_upload_that_fails_is_told_without_secrets(
    box: RunningBox, folder: Path
) -> None:
    until((folder / "store/bucket/logs" / CALLED).exists)
    save(folder, "green", store="broken")
    until(lambda: "in force now: connections" in box.output())
    assert box.submit("says_settings", "--wait").code == 0
    until(lambda: "attempt=1.log cannot be uploaded" in box.output())
    assert "ConnectionError: *** was not let in" in box.output()
    assert "AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID is log_store" in box.output()
    assert "s3cret-key" not in box.output()
