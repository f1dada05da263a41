"""What tasks write outlives runs and workers; what the configuration declares wins when it is read again."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.box import RunningBox, running_box
from tests.faults.processes import the_one, until

pytestmark = [pytest.mark.needs_server, pytest.mark.timeout(180)]

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


def test_it_survives_the_worker_and_what_is_declared_wins_then(
    box: RunningBox,
) -> None:
    write(box, kept="two", declared="by a task", gone=None)
    assert read(box, "declared", "gone") == ["by a task", None]

    restart_worker(box)

    assert read(box, "kept", "declared", "gone") == ["two", "from the file", "too"]
