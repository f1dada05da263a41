"""Workflows recorded by earlier versions can be continued by this one."""

import json
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from appliance.worker.temporal_workers import WORKFLOWS

RECORDED = {
    path.stem: path.read_text()
    for path in sorted((Path(__file__).parents[1] / "histories").glob("*.json"))
}


@pytest.mark.parametrize("name", RECORDED)
async def test_a_recorded_workflow_can_be_replayed(name: str) -> None:
    history = WorkflowHistory.from_json(name, RECORDED[name])

    await Replayer(workflows=WORKFLOWS).replay_workflow(history)


def test_every_workflow_type_has_a_recording() -> None:
    registered = {definition_of(one) for one in WORKFLOWS}

    assert registered == {type_of(text) for text in RECORDED.values()}


def definition_of(workflow_class: type) -> str | None:
    definition = workflow._Definition.must_from_class(workflow_class)
    return definition.name


def type_of(history: str) -> str:
    (started, *_) = json.loads(history)["events"]
    name: str = started["workflowExecutionStartedEventAttributes"]["workflowType"][
        "name"
    ]
    return name


def test_the_recordings_cover_what_a_run_can_go_through() -> None:
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
        "dag_continued",
        "pool_continued",
        "scheduler_continued",
        "backfill_continued",
        "vault_continued",
    } <= set(RECORDED)
