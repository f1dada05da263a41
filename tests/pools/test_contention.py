"""Which pools a run has to ask, and which it can never be served by."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio.client import Client

from appliance.config.model import Config, Pool, WorkerSettings
from appliance.errors import DagError
from appliance.pools.contention import WorkerCapacity
from appliance.temporal.messages import PoolFacts


class FakeService:
    """A task queue these workers poll."""

    def __init__(self, *workers: str) -> None:
        self.workers = workers
        self.asked = 0

    async def describe_task_queue(self, _request: Any) -> Any:
        self.asked += 1
        return SimpleNamespace(
            pollers=[SimpleNamespace(identity=name) for name in self.workers]
        )


def capacity(
    *workers: str, config: Config | None = None, **weights: int
) -> tuple[WorkerCapacity, FakeService]:
    service = FakeService(*workers)
    client = SimpleNamespace(namespace="default", workflow_service=service)

    async def heaviest() -> dict[str, int]:
        return weights

    return WorkerCapacity(cast(Client, client), config or told(), heaviest), service


def told(parallelism: int = 4, **pools: Pool) -> Config:
    return Config(
        file=Path("appliance.yaml"),
        data=Path("data"),
        worker=WorkerSettings(parallelism=parallelism),
        pools=pools,
    )


def plan(**row: Any) -> dict[str, Any]:
    return {"dag_id": "d", "tasks": {"t": row}}


async def asked(
    of: dict[str, Any], config: Config, *workers: str, **weights: int
) -> dict[str, PoolFacts]:
    return await capacity(*workers, config=config, **weights)[0].pools("d.py", of)


DEFAULT = {"default_pool": PoolFacts(128)}


async def test_nobody_asks_the_default_pool_that_has_a_slot_for_everybody() -> None:
    assert await asked(plan(), told(), "a/4") == {}
    assert await asked(plan(), told(32), "a/32", "a/32", "b/32", "c/32", "d/32") == {}
    assert await asked(plan(), told(default_pool=Pool(-1)), "a/999") == {}


async def test_it_is_asked_when_workers_or_tasks_may_want_more() -> None:
    assert await asked(plan(), told(33), "a/33", "b/33", "c/33", "d/33") == DEFAULT
    assert await asked(plan(slots=33), told(), "a/4") == DEFAULT
    assert await asked(plan(), told(), "a/4", default_pool=33) == DEFAULT
    assert await asked(plan(), told(default_pool=Pool(3)), "a/4") == {
        "default_pool": PoolFacts(3)
    }
    deferred = Pool(128, include_deferred=True)
    assert await asked(plan(), told(default_pool=deferred), "a/4") == {
        "default_pool": PoolFacts(128, include_deferred=True)
    }


async def test_what_each_worker_runs_at_once_counts_not_what_this_one_does() -> None:
    assert await asked(plan(), told(4), "a/4", "b/124") == {}
    assert await asked(plan(), told(4), "a/4", "b/125") == DEFAULT
    assert await asked(plan(), told(4), "a/4", "b") == {}  # does not say, as once


async def test_every_other_pool_is_asked_however_many_slots_it_has() -> None:
    pools = told(p=Pool(4000), q=Pool(-1))

    assert await asked(plan(pool="p"), pools, "a/4") == {"p": PoolFacts(4000)}
    assert await asked(plan(pool="q"), pools, "a/4") == {"q": PoolFacts(2**31)}


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"pool": "q"}, 'task "t": there is no pool "q" (there is p)'),
        ({"pool": "p", "slots": 3}, 'wants 3 slots of the pool "p", which has 2'),
    ],
)
async def test_what_could_never_run_is_refused(row: dict[str, Any], why: str) -> None:
    with pytest.raises(DagError) as refused:
        await asked(plan(**row), told(p=Pool(2)), "a/4")

    assert why in str(refused.value)


async def test_workers_are_not_counted_for_every_run() -> None:
    counted, service = capacity("a/4")

    for _ in range(3):
        await counted.pools("d.py", plan())

    assert service.asked == 1


async def test_a_pool_made_smaller_is_known_at_once_and_a_worker_when_counted() -> None:
    counted, service = capacity("a/4")
    assert await counted.scarce() == {}

    counted.reconfigure(told(default_pool=Pool(3)))
    assert await counted.scarce() == {"default_pool": PoolFacts(3)}

    counted.reconfigure(told())
    service.workers = ("a/4", "b/200")
    assert await counted.scarce() == {}
    assert await counted.scarce(counted_s=0.0) == DEFAULT
