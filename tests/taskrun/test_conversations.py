"""What real tasks ask in real children, and what becomes of the answers."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from appliance.dagrun.attempt import TaskExecutionResult, XComRow
from appliance.dagrun.states import TaskState
from appliance.forkserver.control import Zygote
from appliance.taskrun.assets import Asset
from appliance.taskrun.attempt import TryHost
from appliance.taskrun.kv_store import StoredText
from appliance.taskrun.protocols import InstanceRow
from tests.fakes.kv_stores import FakeVaults
from tests.fakes.runs import FakeRun
from tests.taskrun.conftest import Box, a_try

pytestmark = [
    pytest.mark.needs_airflow,
    pytest.mark.asyncio(loop_scope="session"),
]

DOUBLES = [XComRow("double", index, "return_value", 2 * index) for index in (2, 0, 1)]


@dataclass
class Asker:
    """Runs tries of ``dags/asks.py``."""

    box: Box
    zygote: Zygote

    async def run(
        self,
        task_id: str,
        run: FakeRun | None = None,
        *,
        host: TryHost | None = None,
        assets: Sequence[Asset] = (),
        dag_id: str = "asks",
        **changes: Any,
    ) -> TaskExecutionResult:
        facts = {"dag_id": dag_id, "file": "asks.py"}
        task = a_try(task_id, facts=facts, **changes)
        return await (host or self.box.host()).run_try(
            task, zygote=self.zygote, run=run or FakeRun(), assets=assets
        )

    async def value(
        self, task_id: str, run: FakeRun | None = None, **changes: Any
    ) -> Any:
        result = await self.run(task_id, run, **changes)
        assert result.state == TaskState.SUCCESS, self.box.log(result)
        return {row.key: row.value for row in result.xcoms}.get("return_value")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def asker(box: Box) -> Asker:
    return Asker(box, await box.read("asks.py"))


async def test_pulls_of_every_kind(asker: Asker) -> None:
    pulled = await asker.value("pulls", FakeRun(rows=DOUBLES))

    # Airflow gives the default only to a pull that names map indexes.
    assert pulled == {"one": 2, "all": [0, 2, 4], "none": None, "own": None}


async def test_a_mapped_sequence_is_summed_indexed_and_sliced(asker: Asker) -> None:
    run = FakeRun()

    value = await asker.value("total", run, xcoms=tuple(DOUBLES), complete=("double",))

    assert value == [6, 4, [2, 4], [4, 2, 0]]
    assert run.asked == []


async def test_own_push_is_read_back_without_asking_the_run(asker: Asker) -> None:
    assert await asker.value("pushes", own := FakeRun()) == {"a": 1}
    assert own.asked == []


async def test_list_to_map_over_brings_its_length(asker: Asker) -> None:
    result = await asker.run("items")

    assert result.return_length == 3


async def test_list_too_long_to_map_over_fails_the_try(asker: Asker) -> None:
    result = await asker.run("too_many")

    assert result.state == TaskState.FAILED
    assert "too large to map" in (result.error or "")


async def test_how_long_is_too_long_can_be_set(asker: Asker) -> None:
    host = asker.box.host(max_map_length=2000)

    result = await asker.run("too_many", host=host)

    assert result.return_length == 2000


async def test_an_asset_function_finds_what_its_file_declares(asker: Asker) -> None:
    declared = {"name": "before", "uri": "s3://b", "group": "asset", "extra": {"a": 1}}

    found = await asker.run("after", dag_id="after", assets=[declared])
    missed = await asker.run("after", dag_id="after")

    assert found.state == TaskState.SUCCESS, asker.box.log(found)
    assert "found s3://b" in asker.box.log(found)
    assert missed.state == TaskState.FAILED


async def test_counts_and_states_of_the_own_run(asker: Asker) -> None:
    rows = [InstanceRow("double", index, "success") for index in range(2)]

    value = await asker.value("counts", FakeRun(tasks=rows))

    states = {"manual__1": {"double_0": "success", "double_1": "success"}}
    assert value == [2, states, "running", 1]


async def test_a_task_in_a_mapped_group_gets_its_own_upstream(asker: Asker) -> None:
    run = FakeRun(
        rows=[XComRow("pair.inner", index, "return_value", index) for index in (0, 1)],
        tasks=[
            InstanceRow(f"pair.{task}", index, None)
            for task in ("inner", "outer")
            for index in (0, 1)
        ],
    )

    assert await asker.value("pair.outer", run, map_index=1) == 10


async def test_masked_secret_is_nowhere(asker: Asker) -> None:
    result = await asker.run("hides")

    assert "it is ***" in asker.box.log(result)
    assert "hunter22" not in asker.box.log(result)
    assert (result.error or "").startswith("ValueError: ***")
    assert "hunter22" not in (result.error or "").replace('ValueError("hunter22")', "")


async def test_first_run_has_no_previous_success(asker: Asker) -> None:
    assert await asker.value("previous") == ["None", "None"]


async def test_label_of_a_mapped_instance(asker: Asker) -> None:
    result = await asker.run("labelled", map_index=1)

    assert result.rendered_map_index == "b"


async def test_outlets_are_no_hindrance(asker: Asker) -> None:
    assert await asker.value("produces") == 1


async def test_branch_skips_the_other_side(asker: Asker) -> None:
    result = await asker.run("chooses")

    assert result.state == TaskState.SUCCESS
    assert result.skipped == (("right", -1),)
    assert "skipmixin_key" in {row.key for row in result.xcoms}


async def test_sensor_asks_to_be_run_again(asker: Asker) -> None:
    result = await asker.run("waits")

    assert result.state == TaskState.UP_FOR_RESCHEDULE
    assert result.reschedule_at is not None
    assert result.reschedule_at > result.end_date


async def test_earlier_xcoms_of_the_try_are_deleted(asker: Asker) -> None:
    result = await asker.run("items", own_keys=("return_value", "old"))

    assert result.deleted == (XComRow("items", -1, "old"),)


async def test_what_a_task_writes_is_kept(asker: Asker) -> None:
    kv_stores = FakeVaults()
    host = asker.box.host(kv_stores=kv_stores)

    for task_id in ("sets_variable", "keeps"):
        result = await asker.run(task_id, host=host)
        assert result.state == TaskState.SUCCESS, asker.box.log(result)

    assert kv_stores.variables.kept == {"": {"a": StoredText("b")}}
    (state,) = kv_stores.others.values()
    assert state.kept == {"keeps:-1": {"k": StoredText("1")}}
    month_s = 30 * 86400
    assert state.expiries[0] == pytest.approx(time.time() + month_s, abs=3600)


async def test_a_task_that_defers_says_what_it_waits_for(asker: Asker) -> None:
    result = await asker.run("defers")

    assert result.state == TaskState.DEFERRED
    assert result.deferral is not None
    assert result.deferral.next_method == "execute_complete"
    assert result.deferral.moment is not None
