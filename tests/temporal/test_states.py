"""Every version of the state that an entity workflow passes on is read, for ever; one of a newer version is refused.

``tests/states/v1`` was recorded with the release 0.1.0: the inputs of its workflows after a continue-as-new.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.active_runs import model as active_runs
from appliance.active_runs.model import ActiveRuns
from appliance.dagrun.state_version import VERSION_KEY, NewerStateError
from appliance.dagrun.states import RunState
from appliance.pools import model as pools
from appliance.pools.model import Pool
from appliance.schedules import model as schedules
from appliance.schedules.model import Scheduler
from appliance.temporal import compression

STATES = Path(__file__).parents[1] / "states"
MODELS: dict[str, tuple[int, Callable[[dict[str, Any]], Any]]] = {
    "dag": (active_runs.STATE_VERSION, ActiveRuns.from_json),
    "pool": (pools.STATE_VERSION, Pool.from_json),
    "scheduler": (schedules.STATE_VERSION, Scheduler.from_json),
}


def recorded(name: str, version: int = 1) -> dict[str, Any]:
    inputs = json.loads((STATES / f"v{version}" / f"{name}.json").read_text())
    document: dict[str, Any] = compression.unpacked(inputs[-1]["packed"])
    return document


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
