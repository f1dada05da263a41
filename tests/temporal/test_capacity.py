"""Which pools a run has to ask, and which it can never be served by."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio.client import Client

from appliance.config.model import Config, Pool, WorkerSettings
from appliance.errors import DagError
from appliance.temporal.messages import PoolFacts
from appliance.temporal.worker.capacity import Capacity


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


def capacity(*workers: str) -> tuple[Capacity, FakeService]:
    service = FakeService(*workers)
    client = SimpleNamespace(namespace="default", workflow_service=service)
    return Capacity(cast(Client, client)), service


def config(parallelism: int = 4, **pools: Pool) -> Config:
    return Config(
        file=Path("appliance.yaml"),
        data=Path("data"),
        worker=WorkerSettings(parallelism=parallelism),
        pools=pools,
    )


def plan(**row: Any) -> dict[str, Any]:
    return {"dag_id": "d", "tasks": {"t": row}}


async def tight(
    of: dict[str, Any], told: Config, *workers: str, **weights: int
) -> dict[str, PoolFacts]:
    return await capacity(*workers)[0].tight_pools("d.py", of, told, weights)


async def test_nobody_asks_the_default_pool_that_has_a_slot_for_everybody() -> None:
    assert await tight(plan(), config(), "a") == {}
    assert await tight(plan(), config(32), "a", "a", "b", "c", "d") == {}


async def test_it_is_asked_when_workers_or_tasks_may_want_more() -> None:
    default = {"default_pool": PoolFacts(128)}

    assert await tight(plan(), config(33), "a", "b", "c", "d") == default
    assert await tight(plan(slots=33), config(), "a") == default
    assert await tight(plan(), config(default_pool=Pool(3)), "a") == {
        "default_pool": PoolFacts(3)
    }


async def test_tasks_of_other_dags_that_take_more_slots_count() -> None:
    pool = config(p=Pool(4))

    assert await tight(plan(pool="p"), pool, "a", p=1, q=2) == {}
    assert await tight(plan(pool="p"), pool, "a", p=2) == {"p": PoolFacts(4)}


async def test_a_pool_that_counts_deferred_tasks_may_always_run_out() -> None:
    pool = Pool(1000, include_deferred=True)

    assert await tight(plan(pool="p"), config(p=pool), "a") == {
        "p": PoolFacts(1000, include_deferred=True)
    }


async def test_a_pool_without_a_limit_is_never_asked() -> None:
    assert await tight(plan(pool="p", slots=9), config(p=Pool(-1)), "a") == {}


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"pool": "q"}, 'task "t": there is no pool "q" (there is p)'),
        ({"pool": "p", "slots": 3}, 'wants 3 slots of the pool "p", which has 2'),
    ],
)
async def test_what_could_never_run_is_refused(row: dict[str, Any], why: str) -> None:
    with pytest.raises(DagError) as refused:
        await tight(plan(**row), config(p=Pool(2)), "a")

    assert why in str(refused.value)


async def test_workers_are_not_counted_for_every_run() -> None:
    counted, service = capacity("a")

    for _ in range(3):
        await counted.tight_pools("d.py", plan(), config(), {})

    assert service.asked == 1
