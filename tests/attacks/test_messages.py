"""Signals, updates and queries by anybody: none stops the workflow it is sent to."""

import asyncio
import uuid
from typing import Any

import pytest
from temporalio.client import (
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.service import RPCError

from tests.attacks.attacker import QUEUE, Attacker
from tests.attacks.conftest import CANARY, Target
from tests.attacks.test_runs import DEEP

pytestmark = [pytest.mark.long, pytest.mark.needs_server, pytest.mark.timeout(120)]

_PATIENCE_S = 30.0
TEXT = "\ud800"
CARD = {"run_id": "r", "workflow_id": "w", "run_type": "manual", "run_after": "2026"}
LEASE = {"lease_id": "l", "workflow_id": "w", "task_id": "t", "map_index": -1}
WISH = {"pool": "p", "lease": LEASE, "capacity": 1}
SLOT = {"run_after": "2026-01-01", "run_id": "r"}
SCHEDULE = {
    "name": "n",
    "dag_id": "shop",
    "timetable": {},
    "summary": "",
    "source": "",
}
ANYTHING: list[list[Any]] = [[], [None], [5], ["x"], [TEXT], [[]], [[5]], [{}], [DEEP]]
ANYTHING += [[{}, {}, {}], [b"\xff"]]

SIGNALS: dict[str, list[tuple[str, list[Any]]]] = {
    "dag": [
        ("closed", [{"dag_id": "d", "card": {**CARD, "workflow_id": ""}}]),
        ("closed", [{"dag_id": "d", "card": {**CARD, "run_id": TEXT}}]),
        ("closed", [{"dag_id": "d", "card": {**CARD, "state": "no state"}}]),
        ("closed", [{"dag_id": "d", "card": CARD, "tasks": TEXT}]),
        ("lost", [[{"run_id": TEXT}]]),
    ],
    "pool": [("give_back", [{"pool": "p", "lease_ids": [TEXT]}])],
    "scheduler": [
        ("covered", [{"dag_id": "shop", "slots": [{**SLOT, "run_after": "soon"}]}]),
        ("covered", [{"dag_id": "shop", "slots": [{**SLOT, "run_id": TEXT}]}]),
        ("covered", [{"dag_id": "shop", "slots": [SLOT]}]),
        ("carry", [["none such"]]),
        ("ring", ["none such"]),
    ],
    "run": [("slots_lent", [["none such"]]), ("admitted", [])],
    "vault": [],
}
UPDATES: dict[str, list[tuple[str, list[Any]]]] = {
    "dag": [
        ("enter", [[{"dag_id": "d", "card": {**CARD, "workflow_id": ""}, "limit": 1}]]),
        ("enter", [[{"dag_id": "d", "card": {**CARD, "run_id": TEXT}, "limit": 1}]]),
        (
            "enter",
            [[{"dag_id": "d", "card": {**CARD, "lane": "x" * 2000}, "limit": 1}]],
        ),
        ("enter", [[{"dag_id": "d", "card": {**CARD, "conf": DEEP}, "limit": 1}]]),
        ("enter", [[{"dag_id": "d", "card": CARD, "limit": -1 << 80}]]),
    ],
    "pool": [
        ("want", [[{**WISH, "lease": {**LEASE, "slots": -5}}]]),
        ("want", [[{**WISH, "lease": {**LEASE, "workflow_id": ""}}]]),
        ("want", [[{**WISH, "lease": {**LEASE, "lease_id": TEXT}}]]),
        ("want", [[{**WISH, "capacity": 1 << 80}]]),
        ("want", [[{**WISH, "lease": {**LEASE, "priority": 1 << 80}}]]),
    ],
    "scheduler": [
        ("declare", [{"changed": [{**SCHEDULE, "earliest": "soon"}]}]),
        ("declare", [{"changed": [{**SCHEDULE, "name": ""}]}]),
        ("declare", [{"changed": [{**SCHEDULE, "name": TEXT}]}]),
        ("declare", [{"changed": [{**SCHEDULE, "timetable": DEEP}]}]),
        ("declare", [{"changed": [{**SCHEDULE, "max_active_runs": "x"}]}]),
        ("declare", [{"changed": [{**SCHEDULE, "timetable": {"__type": "os"}}]}]),
        ("steer", [{"verb": "explode", "names": ["n"]}]),
        ("steer", [{"verb": "trigger", "names": ["n"], "at": "soon"}]),
        ("steer", [{"verb": "trigger", "names": ["n"], "conf": DEEP}]),
        ("steer", [{"verb": "pause", "names": ["none such", TEXT]}]),
    ],
    "run": [
        ("respond", [{"task_id": "wait", "chosen_options": ["x"]}]),
        ("respond", [{"task_id": TEXT, "chosen_options": []}]),
        ("respond", [{"task_id": "wait", "chosen_options": [], "params_input": DEEP}]),
    ],
    "vault": [
        ("write", [[{"kind": "explode"}]]),
        ("write", [[{"kind": "put", "item": {"sealed": "x", "expires_at": 1e999}}]]),
        ("write", [[{"kind": "put", "key": TEXT, "item": {"sealed": "x"}}]]),
        ("write", [[{"kind": "put", "item": {"sealed": "x" * 1_600_000}}]]),
    ],
}
NAMES = {
    "dag": (("closed", "lost"), ("enter",), ("find", "holders", "state")),
    "pool": (("give_back",), ("want",), ("held", "state")),
    "scheduler": (
        ("covered", "carry", "ring"),
        ("declare", "steer"),
        ("schedules", "declared", "state"),
    ),
    "run": (
        ("admitted", "slots_lent"),
        ("respond",),
        ("task_states", "xcoms", "run_facts", "slots_wanted"),
    ),
    "vault": ((), ("write",), ("read", "contents")),
}
SOUND = {
    "dag": "holders",
    "pool": "held",
    "scheduler": "declared",
    "run": "task_states",
    "vault": "contents",
}
STARTS: dict[str, tuple[str, Any]] = {
    "dag": ("AirflowDag", {"dag_id": "d", "packed": None}),
    "pool": ("AirflowPool", {"pool": "p", "packed": None}),
    "scheduler": ("AirflowScheduler", {}),
    "run": ("ExecuteAirflowDagWorkflow", {"dag_id": "waiting"}),
    "vault": ("AirflowVault", {}),
}


@pytest.mark.parametrize("kind", STARTS)
async def test_nothing_that_is_sent_stops_a_workflow(
    attacker: Attacker, kind: str
) -> None:
    workflow = await _started(attacker, kind)
    signals, updates, queries = NAMES[kind]

    for name in (*signals, "no such signal"):
        for given in ANYTHING:
            await workflow.signal(name, args=given)
    for name, given in SIGNALS[kind]:
        await workflow.signal(name, args=given)
    asked = [(name, given) for name in updates for given in ANYTHING]
    told = await asyncio.gather(
        *(_update(workflow, *one) for one in (*asked, *UPDATES[kind])),
        *(_query(workflow, name, given) for name in queries for given in ANYTHING),
    )

    assert CANARY not in "".join(told)
    await attacker.is_sound(workflow)
    await asyncio.wait_for(workflow.query(SOUND[kind]), _PATIENCE_S)
    await workflow.terminate()


async def test_the_schedules_of_the_box_survive_all_of_it(
    attacker: Attacker, target: Target
) -> None:
    shared = attacker.client.get_workflow_handle(f"airflow-scheduler-{QUEUE}")
    handle: WorkflowHandle[Any, Any] = await attacker.client.start_workflow(
        "AirflowScheduler",
        {},
        id=shared.id,
        task_queue=QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )
    for name, given in SIGNALS["scheduler"]:
        await handle.signal(name, args=given)
    await asyncio.gather(
        *(_update(handle, name, given) for name, given in UPDATES["scheduler"])
    )

    listed = await asyncio.to_thread(target.box.appliance, "schedules", "list")

    assert listed.code == 0, listed.stderr
    await attacker.is_sound(handle)
    await handle.terminate()


async def _started(attacker: Attacker, kind: str) -> WorkflowHandle[Any, Any]:
    name, given = STARTS[kind]
    handle: WorkflowHandle[Any, Any] = await attacker.client.start_workflow(
        name, given, id=f"attack-{uuid.uuid4()}", task_queue=QUEUE
    )
    return handle


async def _update(
    workflow: WorkflowHandle[Any, Any], name: str, given: list[Any]
) -> str:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return str(await workflow.execute_update(name, args=given))
    except (WorkflowUpdateFailedError, RPCError) as err:
        return f"{err} {err.__cause__}"


async def _query(
    workflow: WorkflowHandle[Any, Any], name: str, given: list[Any]
) -> str:
    try:
        return str(await workflow.query(name, args=given))
    except (WorkflowQueryFailedError, RPCError) as err:
        return str(err)
