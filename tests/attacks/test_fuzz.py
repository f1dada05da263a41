"""Thousands of crafted inputs, by every way there is: they do no more than SECURITY.md says.

``ATTACKS=5000`` sends so many; without it a few, for CI.
"""

import asyncio
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from temporalio.client import WorkflowHandle
from temporalio.exceptions import TemporalError
from temporalio.service import RPCError

from appliance.dagfile import containment
from appliance.dagrun import ids
from appliance.temporal import compression
from tests.attacks.attacker import Attacker, Order, attacking
from tests.attacks.conftest import CANARY, Target
from tests.attacks.crafting import CRAFTS, NASTY, RUN, TEXTS, Craft
from tests.attacks.test_messages import SOUND, STARTS
from tests.faults.processes import the_one

ATTACKS = int(os.environ.get("ATTACKS", "150"))
_BATCH = 50
_PATIENCE_S = 30.0

pytestmark = [pytest.mark.long, pytest.mark.timeout(120 + ATTACKS)]


@pytest.mark.needs_server
@settings(
    max_examples=max(1, ATTACKS // _BATCH),
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(crafts=st.lists(CRAFTS, min_size=_BATCH, max_size=_BATCH))
def test_whatever_is_sent_does_no_harm(target: Target, crafts: list[Craft]) -> None:
    worker = the_one(target.box.process.pid, "-m appliance worker")
    before = _tree(target)

    asyncio.run(_attack(target, crafts))

    target.assert_unharmed()
    assert the_one(target.box.process.pid, "-m appliance worker") == worker
    assert _tree(target) == before


@settings(max_examples=ATTACKS, deadline=None, database=None)
@given(name=st.text() | st.sampled_from(TEXTS))
def test_a_name_that_is_an_id_stays_in_its_folder(name: str) -> None:
    if ids.objection(name) is None:
        path = Path("/data/logs", name)
        assert Path(os.path.normpath(path)).is_relative_to("/data/logs")
        assert Path(os.path.normpath(path)) != Path("/data/logs")
    assert ids.shown(name).isprintable()


@settings(max_examples=ATTACKS, deadline=None, database=None)
@given(file=st.text("ab./\0é\ud800") | st.sampled_from(TEXTS))
def test_a_plain_file_stays_in_its_folder(file: str) -> None:
    if containment.is_plain(file):
        assert Path(os.path.normpath(f"/dags/{file}")) == Path("/dags", file)
        assert Path("/dags", file).is_relative_to("/dags")


@settings(max_examples=ATTACKS, deadline=None, database=None)
@given(text=st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_what_is_not_packed_is_told_by_one_error(text: str) -> None:
    with suppress(ValueError):
        compression.unpacked(text)


@settings(max_examples=ATTACKS, deadline=None, database=None)
@given(value=NASTY)
def test_what_is_packed_is_what_it_was(value: Any) -> None:
    assert compression.unpacked(compression.packed(value)) == json.loads(
        json.dumps(value)
    )


def test_a_small_text_that_unpacks_to_much_is_refused() -> None:
    with pytest.raises(ValueError, match="no packed text of at most"):
        compression.unpacked(compression.packed("x" * 80_000_000))


async def _attack(target: Target, crafts: list[Craft]) -> None:
    async with attacking(target.box) as attacker:
        standing = {
            kind: await attacker.client.start_workflow(
                name, given, id=f"attacked-{kind}-{os.urandom(4).hex()}", **_ON_QUEUE
            )
            for kind, (name, given) in STARTS.items()
        }
        told = await asyncio.gather(
            _activities(attacker, [one for one in crafts if one.way == "activity"]),
            *(_ask(attacker, standing, one) for one in crafts if one.way != "activity"),
        )
        assert CANARY not in "".join(told)
        for kind, handle in standing.items():
            await attacker.is_sound(handle)
            await asyncio.wait_for(handle.query(SOUND[kind]), _PATIENCE_S)
            await handle.terminate()


_ON_QUEUE: Any = {"task_queue": "airflow-tasks"}


async def _activities(attacker: Attacker, crafts: list[Craft]) -> str:
    orders = [Order(one.name, one.given[0], one.at) for one in crafts]
    if not orders:
        return ""
    return "".join(await attacker.order(*orders, name=RUN))


async def _ask(
    attacker: Attacker,
    standing: dict[str, WorkflowHandle[Any, Any]],
    craft: Craft,
) -> str:
    to, given = standing.get(craft.at), craft.given
    try:
        async with asyncio.timeout(_PATIENCE_S):
            if craft.way == "start" or to is None:
                return await _start(attacker, craft)
            if craft.way == "signal":
                await to.signal(craft.name, args=given)
                return ""
            if craft.way == "update":
                return str(await to.execute_update(craft.name, args=given))
            return str(await to.query(craft.name, args=given))
    except (TemporalError, RPCError) as err:
        return f"{err} {err.__cause__}"


async def _start(attacker: Attacker, craft: Craft) -> str:
    """Start a workflow, see that its first tasks do not fail, and end it."""
    handle: WorkflowHandle[Any, Any] = await attacker.client.start_workflow(
        craft.name,
        args=craft.given,
        id=f"attacked-{os.urandom(8).hex()}",
        **_ON_QUEUE,
    )
    ending = asyncio.ensure_future(handle.result())
    done, _ = await asyncio.wait((ending,), timeout=3.0)
    await attacker.is_sound(handle)
    if done:
        return str(ending.exception() or ending.result())
    ending.cancel()
    with suppress(RPCError):
        await handle.terminate()
    return ""


def _tree(target: Target) -> set[str]:
    """Return what is beside the data folder, and what in it is neither a log, an XCom nor the server's."""
    folder = target.box.data.parent
    kept = ("dags", "outside", "marks")
    found = {str(path) for name in kept for path in (folder / name).rglob("*")}
    found |= {path.name for path in folder.iterdir()}
    return {path for path in found if "__pycache__" not in path} | {
        path.name for path in target.box.data.iterdir()
    }
