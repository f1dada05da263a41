"""Tasks start runs of other DAGs, wait for them, and are told what became of them, earlier runs of their own included."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client
from temporalio.service import RPCError

from tests.box import RunningBox, running_box
from tests.faults.processes import until

pytestmark = [pytest.mark.needs_server, pytest.mark.timeout(240)]

DAGS = Path(__file__).parent / "dags"


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBox]:
    folder = tmp_path_factory.mktemp("neighbours")
    with running_box(dags=DAGS, folder=folder) as started:
        yield started


def run(
    box: RunningBox, dag_id: str, *words: str, **conf: Any
) -> tuple[str, dict[str, str]]:
    """Run a DAG to its end; return its state and those of its tasks."""
    wanted = ("--conf", json.dumps(conf), "--wait", "-o", "json")
    done = box.submit(dag_id, *words, *wanted, timeout_s=150)
    assert done.stdout, done.stderr
    body = done.json
    return body["state"], {row["task_id"]: row["state"] for row in body["tasks"]}


def returned(box: RunningBox, dag_id: str, run_id: str, task_id: str) -> Any:
    done = box.appliance("xcoms", dag_id, run_id, "-o", "json")
    (value,) = [
        row["value"]
        for row in done.json
        if (row["task_id"], row["key"]) == (task_id, "return_value")
    ]
    return value


def test_a_task_starts_a_run_waits_for_it_and_reads_what_it_left(
    box: RunningBox,
) -> None:
    state, _ = run(box, "parent", "--run-id", "p", child="c")

    assert state == "success"
    assert returned(box, "parent", "p", "asks") == {
        "xcom": "from the parent",
        "state": "success",
        "count": 2,
        "states": {"c": {"says": "success", "group.one": "success"}},
        "in_group": 1,
        "runs": 1,
    }
    (row,) = [
        row
        for row in box.appliance("runs", "list", "child", "-o", "json").json
        if row["run_id"] == "c"
    ]
    assert (row["run_type"], row["state"]) == ("operator_triggered", "success")


def test_a_run_id_that_is_used_fails_skips_or_runs_again(box: RunningBox) -> None:
    run(box, "child", "--run-id", "twice", word="first")

    assert run(box, "parent", child="twice")[0] == "failed"
    assert run(box, "skips_what_is_there", child="twice") == (
        "success",
        {"starts": "skipped"},
    )
    assert run(box, "resets", child="twice")[0] == "success"
    assert returned(box, "child", "twice", "says") == "first"


def test_a_run_may_have_no_logical_date(box: RunningBox) -> None:
    run(box, "tells_its_dates", "--logical-date", "none", "--run-id", "by_hand")
    run(box, "starts_without_a_date", "--run-id", "none")

    undated = {
        "logical_date": None,
        "interval_start": None,
        "has_ds": False,
        "is_early": False,
    }
    told = returned(box, "tells_its_dates", "by_hand", "dates")
    assert told == {**undated, "run_id": "by_hand"}
    rows = box.appliance("xcoms", "starts_without_a_date", "none", "-o", "json").json
    started = [row["value"] for row in rows if row["key"] == "trigger_run_id"]
    for run_id in started:
        told = returned(box, "tells_its_dates", run_id, "dates")
        assert re.fullmatch(r"manual__\S+\+00:00_\w{8}", told.pop("run_id"))
        assert told == undated  # the other one has waited until it was due
    assert len(started) == 2


def test_a_run_of_the_same_logical_date_is_a_conflict(box: RunningBox) -> None:
    date = "2026-05-01T00:00:00+00:00"

    def starts(child: str, **conf: Any) -> str:
        return run(box, "starts_at_a_date", child=child, date=date, **conf)[1]["starts"]

    assert starts("first") == "success"
    assert starts("second") == "failed"
    assert starts("third", skips=True) == "skipped"
    told = returned(box, "tells_its_dates", "first", "dates")
    assert told["logical_date"] == date
    # As on Airflow, a task gives a date and the timetable goes by when the run is due.
    assert told["interval_start"] > date


def test_a_task_can_mind_that_a_dag_is_paused(box: RunningBox) -> None:
    def is_scheduled() -> bool:
        return box.appliance("schedules", "show", "paused").code == 0

    until("the scheduler knows the DAG", is_scheduled)

    _, tasks = run(box, "minds_pauses")

    assert tasks == {"paused": "failed", "child": "success"}


def test_a_sensor_finds_the_run_of_its_logical_date(box: RunningBox) -> None:
    date = ("--logical-date", "2026-03-01")
    run(box, "child", *date)

    state, tasks = run(box, "watcher", *date)

    earlier = tasks.pop("earlier")
    assert tasks == {"run": "success", "task": "success", "group": "success"}
    assert (state, earlier) == ("failed", "failed")  # nobody ran the day before


def test_a_trigger_waits_for_other_runs_as_a_task_does(box: RunningBox) -> None:
    date = ("--logical-date", "2026-03-21")

    assert run(box, "defers", *date, child="deferred") == (
        "success",
        {"starts": "success", "waits": "success"},
    )


def test_states_outlive_the_history_of_their_run(box: RunningBox) -> None:
    run(box, "child", "--run-id", "old", word="gone with the history")
    run(box, "asks_late", "--run-id", "in_time", child="old")
    _delete(box, "dag-child-old")

    run(box, "asks_late", "--run-id", "late", child="old")

    states = {
        "state": "success",
        "states": {"old": {"says": "success", "group.one": "success"}},
    }
    left = dict.fromkeys(("xcom", "or_else"), "gone with the history")
    assert returned(box, "asks_late", "in_time", "asks") == {**states, **left}
    gone = {"xcom": None, "or_else": "none"}
    assert returned(box, "asks_late", "late", "asks") == {**states, **gone}


def _delete(box: RunningBox, workflow: str) -> None:
    """Do what the server does when the retention of a history is over."""

    async def delete() -> None:
        client = await Client.connect(f"127.0.0.1:{box.environ['APPLIANCE_PORT']}")
        execution = WorkflowExecution(workflow_id=workflow)
        await client.workflow_service.delete_workflow_execution(
            DeleteWorkflowExecutionRequest(
                namespace="default", workflow_execution=execution
            )
        )
        while True:
            try:
                await client.get_workflow_handle(workflow).describe()
            except RPCError:
                return
            await asyncio.sleep(0.1)

    asyncio.run(delete())


def test_a_sensor_fails_when_the_run_has(box: RunningBox) -> None:
    date = ("--logical-date", "2026-03-11")
    run(box, "child", *date, fails=True)

    _, tasks = run(box, "watcher", *date)

    assert set(tasks.values()) == {"failed"}


def test_a_sensor_fails_at_once_when_there_is_not_what_it_waits_for(
    box: RunningBox,
) -> None:
    run(box, "child", "--logical-date", "2026-03-12")

    date = ("--logical-date", "2026-03-12")
    _, tasks = run(box, "checks", *date, "--run-id", "checked")

    assert tasks.pop("there") == "success"
    assert set(tasks.values()) == {"failed"}
    log = box.appliance("logs", "checks", "checked").stdout
    assert log.count("DagNotFoundError: The external DAG typo does not exist.") == 3
    assert log.count("The external task typo in DAG child does not exist.") == 3
    missing = "The external task group 'typo' in DAG 'child' does not exist."
    assert log.count(missing) == 3


def test_a_run_knows_its_predecessors(box: RunningBox) -> None:
    def ran(name: str, day: int, **conf: Any) -> dict[str, Any]:
        date = ("--run-id", name, "--logical-date", f"2026-04-{day:02}")
        run(box, "remembers", *date, **conf)
        looked: dict[str, Any] = returned(box, "remembers", name, "looks_back")
        return looked

    first = ran("one", 1)
    second = ran("two", 2, fails=True)
    third = ran("three", 3, fails=True)

    assert first["previous"] is None
    assert first["prev_end_date_success"] == ""
    assert (second["previous"], second["previous_state"]) == ("one", "success")
    assert second["previous_instance"] == ["one", "success"]
    assert second["last_value"] == "one"
    assert third["previous"] == "two"
    assert third["prev_data_interval_start_success"].startswith("2026-04-0")
    assert third["last_value"] == "one"
