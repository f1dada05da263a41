"""A wait goes on as long as an attempt of its activity holds it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from appliance.config.model import Secrets
from appliance.dagrun.deferral import Trigger
from appliance.forkserver.control import Zygote
from appliance.triggers.triggerer import Triggerer
from appliance.triggers.wait import Workload
from tests.fakes.kv_stores import FakeVaults
from tests.fakes.runs import FakeRun, a_try

WORK = Workload("a.Trigger", {})
TASK = a_try(trigger=Trigger(classpath="a.Trigger"))


async def no_zygote_yet() -> Zygote:
    await asyncio.Event().wait()
    raise AssertionError


@pytest_asyncio.fixture
async def waits(tmp_path: Path) -> AsyncIterator[Triggerer]:
    waits = Triggerer(
        zygote=no_zygote_yet,
        place={},
        data=tmp_path,
        secrets=Secrets,
        airflow_env={},
        kv_stores=FakeVaults(),
        run_of=lambda _: FakeRun(),
        unclaimed_s=0.01,
    )
    yield waits
    await waits.close()


async def test_an_attempt_that_lost_its_lease_leaves_the_wait_to_the_next(
    waits: Triggerer,
) -> None:
    """After the server slept the next attempt often claims the wait before the last one hears of it."""
    first = waits.open(TASK, WORK)
    second = waits.find(TASK.ti_id)
    waits.abandon(TASK.ti_id)
    await asyncio.sleep(0.05)

    assert second is first
    assert waits.find(TASK.ti_id) is first


async def test_a_wait_nobody_claims_is_given_up(waits: Triggerer) -> None:
    waits.open(TASK, WORK)
    waits.abandon(TASK.ti_id)
    await asyncio.sleep(0.05)

    assert waits.find(TASK.ti_id) is None


async def test_only_secrets_of_waits_that_go_on_are_kept(waits: Triggerer) -> None:
    """One process prints for all of them; what has ended must not make that slower for ever."""
    for name in ("one", "other"):
        work = Workload("a.Trigger", {}, masks=[f"secret-of-{name}"])
        waits.open(a_try(ti_id=name, trigger=TASK.trigger), work)

    assert waits._hide("secret-of-one, secret-of-other") == "***, ***"
    waits.close_wait("one")

    assert waits._hide("secret-of-one, secret-of-other") == "secret-of-one, ***"
