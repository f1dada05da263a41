"""Records the histories that ``test_a_recorded_workflow_can_be_replayed`` replays: ``python -m tests.temporal.record runs``.

``entities`` instead of ``runs``: those of the workflows that are no run.

Record anew only when a change of the workflow that is not versioned is meant, and say so in CHANGELOG.
"""

import asyncio
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

from temporalio.client import Client

from tests.box import RunningBox, running_box
from tests.faults.processes import the_one
from tests.faults.test_faults import DAGS as GATED
from tests.faults.test_faults import WORKER, Run
from tests.schedules.looking import Looker, until

ROOT = Path(__file__).parents[2]
DAGS = Path(__file__).parents[1] / "runs" / "dags"
STANDING = Path(__file__).parent / "entities" / "dags"
HISTORIES = Path(__file__).parents[1] / "histories"
SHAPES = (
    "passes_values",
    "retries_once",
    "fails",
    "branches",
    "skips",
    "fails_fast",
    "times_out",
    "reschedules",
    "maps",
    "pushes_much",
    "waits",
)


SCHEDULER = "airflow-scheduler-airflow-tasks"


def record_entities() -> None:
    """Let runs wait for each other, pools, schedules and a backfill; write the histories of who stands for these."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        told = folder / "appliance.yaml"
        told.write_text("dags: {schedules: active}\npools: {narrow: 1}\n")
        environ = {"APPLIANCE_CONF": str(told)}
        with running_box(dags=STANDING, folder=folder, environ=environ) as box:
            look = Looker(box)
            _record_schedules(box, look)
            _record_backfills(box, look)
            _record_queues(box, look)


def _record_schedules(box: RunningBox, look: Looker) -> None:
    until(lambda: len(look.executions("caught_up")) == 6)
    box.appliance("schedules", "pause", "past")
    box.appliance("schedules", "resume", "past")
    box.appliance("schedules", "trigger", "caught_up", "--conf", '{"a": 1}')
    until(lambda: len(look.executions("caught_up")) == 7)
    until(lambda: look.ask_temporal(_page) >= {"caught_up", "past"})
    look.ask_temporal(_press)
    until(lambda: look.ask_temporal(_actions))
    _save(box, "action", *look.ask_temporal(_actions)[0])
    box.appliance("schedules", "pause", "past")
    look.terminate(SCHEDULER)
    _save(box, "scheduler", SCHEDULER)
    box.appliance("schedules", "resume", "past")
    until(lambda: look.schedules().get("past", {}).get("state") == "active")
    _save(box, "scheduler_again", SCHEDULER)


async def _page(client: Client) -> set[str]:
    listed = [one.id async for one in await client.list_schedules()]
    return {
        one.removeprefix("airflow-schedule-").removesuffix("@airflow-tasks")
        for one in listed
    }


async def _press(client: Client) -> None:
    name = "airflow-schedule-past@airflow-tasks"
    await client.get_schedule_handle(name).trigger()


async def _actions(client: Client) -> list[tuple[str, str]]:
    query = "WorkflowType = 'AirflowScheduleAction' AND ExecutionStatus = 'Completed'"
    return [(one.id, one.run_id) async for one in client.list_workflows(query)]


def _record_backfills(box: RunningBox, look: Looker) -> None:
    words = (
        "--from",
        "2026-03-01",
        "--to",
        "2026-03-01T06:00:00",
        "--conf",
        '{"b": 2}',
    )
    box.appliance("backfill", "past", *words, "--max-active-runs", "3")
    _save(box, "backfill", "airflow-backfill-past")
    again = ("--reprocess", "completed", "--max-active-runs", "2", "--detach")
    box.appliance("backfill", "past", *words, *again)
    until(lambda: "running" in look.states("past"))
    box.appliance("backfill", "past", "--cancel")
    until(lambda: look.status("airflow-backfill-past") == "CANCELED")
    _save(box, "backfill_cancelled", "airflow-backfill-past")


def _record_queues(box: RunningBox, look: Looker) -> None:
    for i in range(5):
        box.submit("narrow", "--run-id", f"r{i}")
    rows = look.ask(lambda client: client.runs("narrow"))
    look.terminate(next(row.workflow_id for row in rows if row.state == "running"))
    until(lambda: len(look.executions("narrow")) >= 4)
    _save(box, "pool", "airflow-pool-narrow")
    _save(box, "dag", "airflow-dag-narrow")
    look.terminate("airflow-pool-narrow")
    look.terminate("airflow-dag-narrow")
    box.submit("narrow", "--wait")
    _save(box, "pool_again", "airflow-pool-narrow")
    _save(box, "dag_again", "airflow-dag-narrow")


def record_runs() -> None:
    """Run each shape once, lose a worker and cancel a run; write their histories."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running_box(dags=DAGS, folder=folder) as box:
            for dag_id in SHAPES:
                box.submit(dag_id, "--run-id", "recorded", "--wait")
                _save(box, dag_id, f"dag-{dag_id}-recorded")
            box.submit("keeps_values", "--wait")
            _save(box, "vault", "variables-airflow-tasks")
        with running_box(dags=GATED, folder=folder) as box:
            (folder / "lost").mkdir()
            lost = Run(box, "gated", folder / "lost", "waits")
            os.kill(the_one(box.process.pid, WORKER), signal.SIGKILL)
            lost.let_go()
            lost.end()
            _save(box, "lost_worker", f"dag-gated-{lost.run_id}")
            (folder / "cancel").mkdir()
            cancelled = Run(box, "gated", folder / "cancel", "waits")
            box.appliance("cancel", "gated", cancelled.run_id)
            cancelled.end()
            _save(box, "cancelled", f"dag-gated-{cancelled.run_id}")


def _save(
    box: RunningBox, name: str, workflow_id: str, run_id: str | None = None
) -> None:
    async def fetch() -> str:
        client = await Client.connect(f"127.0.0.1:{box.environ['APPLIANCE_PORT']}")
        handle = client.get_workflow_handle(workflow_id, run_id=run_id)
        history = await handle.fetch_history()
        return history.to_json()

    text = asyncio.run(fetch())
    for here, anywhere in (
        (str(ROOT), "/app"),
        (sys.prefix, "/venv"),
        (sys.base_prefix, "/python"),
        (socket.gethostname(), "box"),
    ):
        text = text.replace(here, anywhere)
    (HISTORIES / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    HISTORIES.mkdir(exist_ok=True)
    {"runs": record_runs, "entities": record_entities}[sys.argv[1]]()
