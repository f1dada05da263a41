"""Runs on a real server end as Airflow ends them, and can be replayed."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import Client, WorkflowHistory
from temporalio.worker import Replayer

from appliance.runs.workflow import ExecuteAirflowDagWorkflow
from appliance.worker_questions.workflow import AskApplianceWorker
from tests.box import RunningBox, running_box
from tests.faults.processes import the_one, until

pytestmark = [pytest.mark.needs_server, pytest.mark.timeout(180)]

DAGS = Path(__file__).parent / "dags"
CANARY = "hunter2-canary"


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBox]:
    with running_box(dags=DAGS, folder=tmp_path_factory.mktemp("runs")) as started:
        yield started


class Report:
    """What ``submit --wait -o json`` said."""

    def __init__(self, box: RunningBox, dag_id: str, *words: str) -> None:
        done = box.submit(dag_id, *words, "--wait", "-o", "json", timeout_s=100)
        assert done.stdout, done.stderr
        self.code = done.code
        self.body: dict[str, Any] = done.json
        self.run_id: str = self.body["run_id"]
        self.state: str = self.body["state"]
        self.tasks = {
            (row["task_id"], row["map_index"]): row for row in self.body["tasks"]
        }
        found = box.appliance("xcoms", dag_id, self.run_id, "-o", "json")
        assert found.code == 0, found.stderr
        self.xcoms = {
            (row["task_id"], row["map_index"], row["key"]): row["value"]
            for row in found.json
        }

    @property
    def states(self) -> dict[str, str | None]:
        return {
            task if index < 0 else f"{task}[{index}]": row["state"]
            for (task, index), row in self.tasks.items()
        }

    def returned(self, task_id: str) -> Any:
        return self.xcoms[task_id, -1, "return_value"]


def test_values_travel_between_tasks(box: RunningBox) -> None:
    report = Report(box, "passes_values")

    assert (report.code, report.state) == (0, "success")
    assert report.returned("add") == 6


def test_mappings_keep_the_order_of_their_keys(box: RunningBox) -> None:
    report = Report(box, "keeps_order", "--conf", '{"row": {"z": 5, "b": 1, "a": 0}}')

    for index, item in enumerate((("q", 1), ("p", 2))):
        told = report.xcoms["take", index, "return_value"]
        keys = ["conf", "zeta", "b", "z", "b", "a", "y", "x"]
        assert (told[0]["__data__"], told[1:]) == ([*item], keys)


def test_a_run_that_has_ended_cannot_be_cancelled(box: RunningBox) -> None:
    report = Report(box, "passes_values")

    done = box.appliance("cancel", "passes_values", report.run_id)

    assert done.code == 2
    assert f"dag-passes_values-{report.run_id} has ended already." in done.stderr


def test_a_failed_try_is_retried(box: RunningBox) -> None:
    report = Report(box, "retries_once")

    assert report.state == "success"
    assert report.tasks["flaky", -1]["try_number"] == 2
    assert report.returned("flaky") == 2


def test_a_failure_stops_its_heirs_and_says_why(box: RunningBox) -> None:
    report = Report(box, "fails")

    assert (report.code, report.state) == (1, "failed")
    assert report.states == {"bad": "failed", "never": "upstream_failed"}
    (failure,) = [
        event["activityTaskFailedEventAttributes"]["failure"]
        for event in json.loads(_history(box, report).to_json())["events"]
        if event["eventType"] == "EVENT_TYPE_ACTIVITY_TASK_FAILED"
    ]
    assert failure["message"] == "ValueError: no rows in the source"
    assert "shapes.py" in failure["stackTrace"]
    assert 'raise ValueError("no rows in the source")' in failure["stackTrace"]
    assert "temporalio" not in failure["stackTrace"]


def test_a_branch_skips_what_was_not_chosen(box: RunningBox) -> None:
    report = Report(box, "branches")

    assert report.states == {
        "choose": "success",
        "left": "success",
        "right": "skipped",
        "join": "success",
    }


def test_a_skip_passes_on(box: RunningBox) -> None:
    report = Report(box, "skips")

    assert report.state == "success"
    assert report.states == {"skip": "skipped", "heir": "skipped"}


def test_fail_fast_stops_what_runs(box: RunningBox) -> None:
    report = Report(box, "fails_fast")

    assert report.states == {"bad": "failed", "slow": "failed", "later": "skipped"}


def test_a_run_that_takes_too_long_fails(box: RunningBox) -> None:
    report = Report(box, "times_out")

    assert report.state == "failed"
    assert report.states == {"slow": "skipped", "later": "skipped"}


def test_a_rescheduled_sensor_keeps_its_try(box: RunningBox) -> None:
    report = Report(box, "reschedules")

    assert report.state == "success"
    assert report.tasks["sensor", -1]["try_number"] == 1
    assert report.returned("sensor") == "here"


def test_mapped_tasks_have_labels(box: RunningBox) -> None:
    report = Report(box, "maps")

    assert report.returned("total") == 14
    assert report.tasks["square", 2]["rendered_map_index"] == "number 3"


def test_large_and_many_xcoms_stay_out_of_history(box: RunningBox) -> None:
    report = Report(box, "pushes_much")

    assert report.returned("check") == [100_000, 10_000]
    assert report.returned("large") == "x" * 100_000
    assert report.xcoms["many", -1, "k39"] == "y" * 10_000
    assert len(_history(box, report).to_json()) < 800_000


def test_xcoms_larger_than_temporal_takes_are_shown(box: RunningBox) -> None:
    report = Report(box, "pushes_huge")

    is_whole = report.returned("huge") == '"é\n' * 1_250_000
    assert is_whole  # What differs would be 5 MB of text.
    assert [report.xcoms["many", -1, f"k{n:03}"] for n in range(300)] == [*range(300)]


@pytest.mark.parametrize(
    ("dag_id", "run_id", "says"),
    [
        ("passes_values", "a" * 251, "the run_id has 251 characters"),
        ("\u4e00" * 250, "a" * 250, "a workflow id of 1005 bytes; Temporal takes 1000"),
    ],
)
def test_ids_that_are_too_long_are_refused(
    box: RunningBox, dag_id: str, run_id: str, says: str
) -> None:
    done = box.submit(dag_id, "--run-id", run_id)

    assert done.code == 2
    assert says in done.stderr


def test_conf_and_params_reach_the_task(box: RunningBox) -> None:
    report = Report(
        box, "says_conf", "--conf", '{"n": 8, "m": 1}', "--logical-date", "2026-02-03"
    )

    assert report.run_id == "manual__2026-02-03T00:00:00+00:00"
    assert report.returned("say") == [{"n": 8, "m": 1}, 8, "2026-02-03", "manual"]


def test_a_conf_too_large_to_repeat_arrives_all_the_same(box: RunningBox) -> None:
    conf = {"text": "z" * 50_000}

    report = Report(box, "says_conf", "--conf", json.dumps(conf))

    assert report.returned("say")[0] == conf


def test_a_submission_brings_its_own_secrets_and_history_has_none_of_them(
    box: RunningBox, tmp_path: Path
) -> None:
    reports = []
    for who in ("one", "two"):
        connections, variables = tmp_path / f"{who}.json", tmp_path / f"{who}v.json"
        secret = f"{CANARY}-{who}"
        described = {"conn_type": "http", "host": who, "password": secret}
        connections.write_text(json.dumps({"shared_id": described}))
        variables.write_text(json.dumps({"who": who}))
        words = ("--connections", str(connections), "--variables", str(variables))
        reports.append(Report(box, "asks_for_secrets", *words))

    assert [report.returned("ask") for report in reports] == [
        ["one", "one"],
        ["two", "two"],
    ]
    for report in reports:
        assert CANARY not in _history(box, report).to_json()
        log = box.appliance("logs", "asks_for_secrets", report.run_id).stdout
        assert "the password is ***" in log
    assert CANARY not in box.output()
    stored = b"".join(path.read_bytes() for path in box.data.glob("temporal.db*"))
    assert CANARY.encode() not in stored


def test_a_run_started_by_hand_needs_only_the_dag_id(box: RunningBox) -> None:
    async def start() -> dict[str, Any]:
        client = await _connect(box)
        handle = await client.start_workflow(
            "ExecuteAirflowDagWorkflow",
            {"dag_id": "passes_values"},
            id="by-hand",
            task_queue="airflow-tasks",
        )
        result: dict[str, Any] = await handle.result()
        return result

    result = asyncio.run(start())

    assert result["state"] == "success"
    assert result["run_id"].startswith("manual__20")
    listed = box.appliance("runs", "list", "passes_values", "-o", "json").json
    assert result["run_id"] in [row["run_id"] for row in listed]
    waited = box.appliance("runs", "wait", "passes_values", result["run_id"])
    assert waited.code == 0, waited.stderr


def test_a_reset_run_ends_again_as_it_did(box: RunningBox) -> None:
    report = Report(box, "passes_values")
    workflow = report.body["workflow_id"]

    async def reset() -> None:
        client = await _connect(box)
        await client.workflow_service.reset_workflow_execution(
            ResetWorkflowExecutionRequest(
                namespace="default",
                workflow_execution=WorkflowExecution(workflow_id=workflow),
                reason="as the button in the UI does",
                workflow_task_finish_event_id=4,
                request_id="once",
            )
        )

    asyncio.run(reset())
    waited = box.appliance(
        "runs", "wait", "passes_values", report.run_id, "-o", "json", timeout_s=60
    )

    assert (waited.code, waited.json["state"]) == (0, "success"), waited.stderr
    assert waited.json["tasks"] != report.body["tasks"]  # its tasks have run anew


def test_a_refused_submission_leaves_nothing_behind(box: RunningBox) -> None:
    done = box.submit("no_such_dag", "--wait")

    assert done.code == 2
    assert "no_such_dag" in done.stderr

    async def traces() -> list[str]:
        client = await _connect(box)
        found = [seen.id async for seen in client.list_workflows()]
        return [name for name in found if "no_such_dag" in name or "ask-" in name]

    # Deleting is done by the server in its own time, a second or so.
    until("the question is deleted", lambda: not asyncio.run(traces()))


def test_a_run_id_is_used_once(box: RunningBox) -> None:
    first = box.submit("passes_values", "--run-id", "mine", "--wait")
    second = box.submit("passes_values", "--run-id", "mine", "--wait")

    assert first.code == 0, first.stderr
    assert second.code == 2
    assert "'mine' is used already" in second.stderr


def test_the_ui_shows_tries_and_states(box: RunningBox) -> None:
    report = Report(box, "retries_once")

    events = json.loads(_history(box, report).to_json())["events"]
    summaries = [
        event["userMetadata"]["summary"]["data"]
        for event in events
        if event["eventType"] == "EVENT_TYPE_ACTIVITY_TASK_SCHEDULED"
    ]
    assert len(summaries) == 2

    async def details() -> str:
        handle = (await _connect(box)).get_workflow_handle(report.body["workflow_id"])
        metadata = await handle.query("__temporal_workflow_metadata")
        return str(metadata)

    assert "| flaky | 🟢 success | 2 |" in asyncio.run(details())


def test_every_run_so_far_can_be_replayed(box: RunningBox) -> None:
    async def replay() -> int:
        client = await _connect(box)
        replayer = Replayer(workflows=[ExecuteAirflowDagWorkflow, AskApplianceWorker])
        runs = client.list_workflows("WorkflowType = 'ExecuteAirflowDagWorkflow'")
        count = 0
        async for seen in runs:
            handle = client.get_workflow_handle(seen.id, run_id=seen.run_id)
            await replayer.replay_workflow(await handle.fetch_history())
            count += 1
        return count

    assert asyncio.run(replay()) >= 15


def _history(box: RunningBox, report: Report) -> WorkflowHistory:
    async def fetch() -> WorkflowHistory:
        client = await _connect(box)
        handle = client.get_workflow_handle(report.body["workflow_id"])
        return await handle.fetch_history()

    return asyncio.run(fetch())


async def _connect(box: RunningBox) -> Client:
    return await Client.connect(f"127.0.0.1:{box.environ['APPLIANCE_PORT']}")


@pytest.mark.parametrize("dag_id", ["maps", "fails"])
def test_a_run_that_has_ended_is_read_while_no_worker_answers(
    box: RunningBox, dag_id: str
) -> None:
    report = Report(box, dag_id)
    worker = the_one(box.process.pid, "appliance worker")
    os.kill(worker, signal.SIGSTOP)
    try:
        waited = box.appliance("runs", "wait", dag_id, report.run_id, "-o", "json")
        pushed = box.appliance("xcoms", dag_id, report.run_id, "-o", "json")
    finally:
        os.kill(worker, signal.SIGCONT)

    assert (waited.code, waited.json) == (report.code, report.body)
    assert len(waited.json["tasks"]) == len(report.tasks)
    found = {(row["task_id"], row["map_index"], row["key"]) for row in pushed.json}
    assert (pushed.code, found) == (0, set(report.xcoms))


def test_a_run_that_was_cancelled_is_read_while_no_worker_answers(
    box: RunningBox, tmp_path: Path
) -> None:
    words = ("waits_long", "--run-id", "ended")
    assert box.submit(*words).code == 0
    logs = box.data / "logs" / "dag_id=waits_long"
    until("it has begun", lambda: any(logs.rglob("*.log")))
    assert box.appliance("cancel", "waits_long", "ended", timeout_s=100).code == 0
    box.appliance("runs", "wait", "waits_long", "ended")
    worker = the_one(box.process.pid, "appliance worker")
    os.kill(worker, signal.SIGSTOP)
    try:
        waited = box.appliance("runs", "wait", "waits_long", "ended", "-o", "json")
        pushed = box.appliance("xcoms", "waits_long", "ended", "-o", "json")
    finally:
        os.kill(worker, signal.SIGCONT)

    assert (waited.code, waited.json["state"]) == (1, "failed")
    assert [row["state"] for row in waited.json["tasks"]] == ["failed"]
    assert (pushed.code, pushed.json) == (0, [])
