"""What tasks write, and what runs were submitted with, outlives runs, workers and keys."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.temporal.keyring import Keyring
from tests.box import RunningBox, running_box
from tests.faults.processes import the_one, until

pytestmark = [pytest.mark.long, pytest.mark.needs_server, pytest.mark.timeout(180)]

DAGS = Path(__file__).parent / "dags"


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBox]:
    folder = tmp_path_factory.mktemp("variables")
    configuration = folder / "appliance.yaml"
    configuration.write_text("variables:\n  declared: from the file\n  gone: too\n")
    environ = {"APPLIANCE_CONF": str(configuration), "AIRFLOW_VAR_FROM_ENV": "shell"}
    with running_box(dags=DAGS, folder=folder, environ=environ) as started:
        yield started


def write(box: RunningBox, **values: Any) -> None:
    done = box.submit("writes", "--conf", json.dumps(values), "--wait")
    assert done.code == 0, done.stdout + done.stderr


def read(box: RunningBox, *keys: str) -> list[Any]:
    conf = json.dumps({"keys": keys})
    done = box.submit("reads", "--conf", conf, "--wait", "-o", "json")
    assert done.code == 0, done.stderr
    found = box.appliance("xcoms", "reads", done.json["run_id"], "-o", "json")
    (xcom,) = found.json
    return [xcom["value"][key] for key in keys]


def passed(folder: Path) -> Path:
    """Write what ``waits`` reads once it has waited."""
    file = folder / "variables.json"
    file.write_text(json.dumps({"passed": "hunter2"}))
    return file


def submit(box: RunningBox, variables: Path) -> str:
    done = box.submit("waits", "--variables", str(variables), "-o", "json")
    assert done.code == 0, done.stderr
    return str(done.json["run_id"])


def restart_worker(box: RunningBox) -> None:
    def worker() -> int:
        return the_one(box.process.pid, "appliance worker")

    old = worker()
    os.kill(old, signal.SIGKILL)
    until("another worker is there", lambda: box.appliance("health").code == 0)
    assert worker() != old


def test_what_a_task_sets_every_later_run_reads(box: RunningBox) -> None:
    write(box, plain="one", nested={"a": [1]}, FROM_ENV="task", passing="x")
    write(box, passing=None)

    plain, nested, from_env, passing = read(
        box, "plain", "nested", "FROM_ENV", "passing"
    )

    assert (plain, json.loads(nested)) == ("one", {"a": [1]})
    assert from_env == "shell", "the environment wins, as in Airflow"
    assert passing is None


def test_all_of_it_outlives_keys_and_workers(box: RunningBox, tmp_path: Path) -> None:
    """A rotation counts without a restart of the worker, and after one; what is declared wins after one.

    So do schedules, runs that wait, and what tasks have written.
    """
    secrets = passed(tmp_path)
    write(box, kept="two", declared="by a task", gone=None)
    runs = [submit(box, secrets)]
    rotated = box.appliance("key", "rotate")
    assert rotated.code == 0, rotated.stderr
    listed = box.appliance("key", "list").stdout.split()
    assert f"the key is now {listed[0]}; 1 older" in rotated.stdout
    runs.append(submit(box, secrets))
    write(box, after="rotation")
    assert read(box, "declared", "gone", "kept") == ["by a task", None, "two"]

    restart_worker(box)

    for run_id in runs:
        done = box.appliance("runs", "wait", "waits", run_id, timeout_s=100)
        assert done.code == 0, done.stdout
    started = box.appliance("schedules", "trigger", "yearly", "-o", "json").json
    done = box.appliance("runs", "wait", "yearly", started["yearly"], timeout_s=100)
    assert done.code == 0, done.stdout
    found = read(box, "kept", "after", "declared", "gone")
    assert found == ["two", "rotation", "from the file", "too"]


def test_a_lost_key_is_named_with_the_remedy(box: RunningBox, tmp_path: Path) -> None:
    keys = box.data / "keys"
    lost, kept = Keyring(keys).fingerprint, keys.read_text()
    run_id = submit(box, passed(tmp_path))
    keys.unlink()
    try:
        restart_worker(box)
        words = ("waits", run_id)
        assert box.appliance("runs", "wait", *words, timeout_s=100).code == 1
        log = box.appliance("logs", *words).stdout
        assert f"sealed with the key {lost}, which is not in" in log
        assert "Give every container the same key file" in log
        assert f"the key other workers of namespace default use ({lost})" in (
            box.output()
        )
    finally:
        keys.write_text(kept)
