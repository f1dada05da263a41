"""Every version of the state that an entity workflow passes on is read, for ever; one of a newer version is refused.

``tests/states/v1`` was recorded with the release 0.1.0: the inputs of its workflows after a continue-as-new.
"""

import base64
import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from appliance.active_runs import model as active_runs
from appliance.active_runs.model import ActiveRuns
from appliance.backfills.messages import planned_run
from appliance.dagrun.state_version import VERSION_KEY, NewerStateError
from appliance.dagrun.states import RunState
from appliance.kv_store.workflow import StoreContents
from appliance.pools import model as pools
from appliance.pools.model import Pool
from appliance.schedules import model as schedules
from appliance.schedules.model import Scheduler
from appliance.temporal import compression
from appliance.temporal.payloads import CONVERTER
from appliance.worker.temporal_workers import WORKFLOWS

TESTS = Path(__file__).parents[1]
STATES = TESTS / "states"
NEWER = 99
MODELS: dict[str, tuple[int, Callable[[dict[str, Any]], Any]]] = {
    "dag": (active_runs.STATE_VERSION, ActiveRuns.from_json),
    "pool": (pools.STATE_VERSION, Pool.from_json),
    "scheduler": (schedules.STATE_VERSION, Scheduler.from_json),
}


def recorded(name: str, version: int = 1) -> dict[str, Any]:
    document: dict[str, Any] = compression.unpacked(
        recorded_input(name, version)["packed"]
    )
    return document


def recorded_input(name: str, version: int = 1) -> dict[str, Any]:
    inputs = json.loads((STATES / f"v{version}" / f"{name}.json").read_text())
    state: dict[str, Any] = inputs[-1]
    return state


def of_a_newer_version(name: str) -> WorkflowHistory:
    """Return the recorded history of a workflow, as if its last run had been of a newer version."""
    history = json.loads((TESTS / "histories" / f"{name}_continued.json").read_text())
    started = history["events"][0]["workflowExecutionStartedEventAttributes"]
    payload = started["input"]["payloads"][-1]
    state = json.loads(base64.b64decode(payload["data"]))
    if "packed" in state:
        document = {**compression.unpacked(state["packed"]), VERSION_KEY: NEWER}
        state["packed"] = compression.packed(document)
    else:
        state[VERSION_KEY] = NEWER
    payload["data"] = base64.b64encode(json.dumps(state).encode()).decode()
    return WorkflowHistory.from_json(name, json.dumps(history))


def test_the_runs_of_a_dag_of_version_1_are_read() -> None:
    runs = ActiveRuns.from_json(recorded("dag"))

    assert [one.run_id for one in runs.running] == ["s2", "s3"]
    assert list(runs.closed) == ["r0", "r1", "r2", "r3", "r4", "s0", "s1"]
    assert {one.state for one in runs.closed.values()} == {RunState.SUCCESS}
    assert runs.limits == {"": 2}
    assert set(runs.tasks) == set(runs.closed)


def test_the_slots_of_a_pool_of_version_1_are_read() -> None:
    pool = Pool.from_json(recorded("pool"))

    assert pool.capacity == 1
    assert list(pool.held) == ["dag-narrow-s3/waits/-1 narrow"]
    assert list(pool.waiting) == [
        "dag-narrow-s3/waits__1/-1 narrow",
        "dag-narrow-s4/waits/-1 narrow",
        "dag-narrow-s4/waits__1/-1 narrow",
    ]


def test_schedules_of_version_1_and_their_pauses_are_read() -> None:
    told = {
        one.declaration.name: one for one in Scheduler.from_json(recorded("scheduler"))
    }

    assert not told["caught_up"].is_paused
    assert told["past"].is_paused
    last = told["caught_up"].last
    assert last is not None
    assert last.run_id == "scheduled__2026-03-01T05:00:00+00:00"


def test_the_runs_that_a_backfill_of_version_1_still_has_to_make_are_read() -> None:
    (waiting,) = map(planned_run, recorded("backfill")["waiting"])

    assert waiting.slot.run_id == "backfill__2026-03-01T12:00:00+00:00"
    assert waiting.reason is None


async def test_a_key_value_store_of_version_1_is_read() -> None:
    state = recorded_input("vault")
    payloads = await CONVERTER.encode([state])

    (contents,) = await CONVERTER.decode(payloads, [StoreContents])

    assert contents.version == 1
    assert [len(items) for items in contents.items.values()] == [15]
    sealed = state["items"][""]["k0"]["sealed"]
    assert contents.items[""]["k0"].sealed == sealed


@pytest.mark.parametrize("name", MODELS)
def test_what_is_written_has_the_version_and_is_read_again(name: str) -> None:
    newest, read = MODELS[name]

    written = read(recorded(name)).to_json()

    assert written[VERSION_KEY] == newest
    assert read(written).to_json() == written


@pytest.mark.parametrize("name", MODELS)
def test_a_newer_version_is_refused_with_the_way_out(name: str) -> None:
    newest, read = MODELS[name]

    with pytest.raises(
        NewerStateError, match=f"version {newest + 1}; .*Start the newer"
    ):
        read({**recorded(name), VERSION_KEY: newest + 1})


@pytest.mark.parametrize("name", MODELS)
def test_there_is_a_recording_of_every_version(name: str) -> None:
    newest, read = MODELS[name]

    for version in range(1, newest + 1):
        read(recorded(name, version))


@pytest.mark.parametrize("name", MODELS)
def test_a_change_of_the_shape_gets_a_new_version(name: str) -> None:
    newest, read = MODELS[name]
    document = recorded(name, newest)

    written = json.loads(json.dumps(read(document).to_json()))

    assert written == {**document, VERSION_KEY: newest}


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.parametrize("name", [*MODELS, "backfill", "vault"])
async def test_a_workflow_waits_when_a_newer_version_wrote_its_state(name: str) -> None:
    replayer = Replayer(workflows=WORKFLOWS)
    history = of_a_newer_version(name)

    result = await replayer.replay_workflow(history, raise_on_replay_failure=False)
    gc.collect()  # The run that never began warns here, not in another test.

    # The workflow task failed, which the server repeats; the workflow itself did not fail.
    assert "Workflow activation completion failed" in str(result.replay_failure)
    assert f"has version {NEWER}; " in str(result.replay_failure)
