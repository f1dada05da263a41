"""Workflows recorded by earlier versions can be continued by this one."""

from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from appliance.active_runs.workflow import AirflowDag
from appliance.backfills.workflow import AirflowBackfill
from appliance.kv_store.workflow import AirflowVault
from appliance.pools.workflow import AirflowPool
from appliance.runs.workflow import ExecuteAirflowDagWorkflow
from appliance.schedules.temporal_schedule_workflow import AirflowScheduleAction
from appliance.schedules.workflow import AirflowScheduler

WORKFLOWS = [
    ExecuteAirflowDagWorkflow,
    AirflowDag,
    AirflowPool,
    AirflowScheduler,
    AirflowScheduleAction,
    AirflowBackfill,
    AirflowVault,
]
RECORDED = {
    path.stem: path.read_text()
    for path in sorted((Path(__file__).parents[1] / "histories").glob("*.json"))
}


@pytest.mark.parametrize("name", RECORDED)
async def test_a_recorded_workflow_can_be_replayed(name: str) -> None:
    history = WorkflowHistory.from_json(name, RECORDED[name])

    await Replayer(workflows=WORKFLOWS).replay_workflow(history)


def test_the_recordings_cover_every_workflow_and_what_a_run_can_go_through() -> None:
    assert {
        "retries_once",
        "lost_worker",
        "cancelled",
        "maps",
        "reschedules",
        "vault",
        "action",
        "backfill",
        "backfill_cancelled",
        "dag",
        "dag_again",
        "pool",
        "pool_again",
        "scheduler",
        "scheduler_again",
    } <= set(RECORDED)
