"""Decides which pools a DAG's tasks ask for slots: all but ``default_pool`` while that cannot run out.

It cannot as long as it has a slot for everything the workers can run at once. Each names that in its identity, and
polls under it, so that whoever counts the pollers of the task queue knows it of all.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from appliance.config.model import DEFAULT_POOL, Config, Pool
from appliance.errors import DagError
from appliance.temporal.connection import worker_of
from appliance.temporal.messages import PoolFacts

_DEFAULT = Pool(128)
"""Airflow's ``default_pool``, if nobody has set another."""
_ENDLESS = 2**31
_COUNT_AGAIN_S = 30.0
_WEIGH_AGAIN_S = 2.0

Weights = Callable[[], Awaitable[Mapping[str, int]]]
"""How many slots tasks of any DAG take of each pool, the largest of them."""


class WorkerCapacity:
    """What the workers of one queue can run at once."""

    def __init__(self, client: Client, config: Config, weights: Weights) -> None:
        """Nothing is counted yet."""
        self._client = client
        self._config = config
        self._weights = weights
        self._at_once = config.worker.parallelism
        self._counted_at = self._weighed_at = float("-inf")
        self._heaviest = 1

    def reconfigure(self, config: Config) -> None:
        """Go by the pools of this configuration from now on."""
        self._config = config

    async def pools(self, file: str, plan: Mapping[str, Any]) -> dict[str, PoolFacts]:
        """Return the pools that the tasks of a plan have to ask.

        Args:
            file: Of the DAG.
            plan: What it consists of.

        Raises:
            DagError: a task wants a pool there is not, or more slots than it has.
        """
        pools = self._config.pools
        wanted: dict[str, int] = {}
        for task_id, row in plan["tasks"].items():
            name, slots = row.get("pool", DEFAULT_POOL), row.get("slots", 1)
            where = f'{file}: DAG "{plan["dag_id"]}", task "{task_id}"'
            _check(where, name, slots, pools)
            wanted[name] = max(slots, wanted.get(name, 0))
        found = {name: _facts(name, pools) for name in wanted if name != DEFAULT_POOL}
        if DEFAULT_POOL in wanted:
            await self._count(_COUNT_AGAIN_S)
            found.update(await self._scarce(wanted[DEFAULT_POOL]))
        return found

    async def scarce(
        self, *, counted_s: float = _COUNT_AGAIN_S
    ) -> dict[str, PoolFacts]:
        """Return ``default_pool`` when it may run out of slots.

        Args:
            counted_s: Count the workers if that was done longer ago.
        """
        await self._count(counted_s)
        return await self._scarce(1)

    async def _scarce(self, slots: int) -> dict[str, PoolFacts]:
        pool = _pool(DEFAULT_POOL, self._config.pools)
        if pool.slots < 0:
            return {}
        heaviest = max(slots, await self._weigh())
        if pool.include_deferred or heaviest * self._at_once > pool.slots:
            return {DEFAULT_POOL: _facts(DEFAULT_POOL, self._config.pools)}
        return {}

    async def _weigh(self) -> int:
        """Return the most slots a task takes: those count only if everybody asks."""
        if time.monotonic() - self._weighed_at > _WEIGH_AGAIN_S:
            self._weighed_at = time.monotonic()
            self._heaviest = (await self._weights()).get(DEFAULT_POOL, 1)
        return self._heaviest

    async def _count(self, counted_s: float) -> None:
        """Count what the workers can run, now and then; who has just gone still counts for some minutes."""
        if time.monotonic() - self._counted_at <= counted_s:
            return
        self._counted_at = time.monotonic()
        request = DescribeTaskQueueRequest(
            namespace=self._client.namespace,
            task_queue=TaskQueue(name=self._config.temporal.task_queue),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
        )
        service = self._client.workflow_service
        try:
            seen = await service.describe_task_queue(request)
        except RPCError:
            return
        own = self._config.worker.parallelism
        most: dict[str, int] = {}
        for poller in seen.pollers:
            name, slots = worker_of(poller.identity)
            most[name] = max(slots or own, most.get(name, 0))
        self._at_once = max(own, sum(most.values()))


def slots_of(name: str, pools: Mapping[str, Pool]) -> int | None:
    """Return how many slots a pool has; None when there is no such pool."""
    if name != DEFAULT_POOL and name not in pools:
        return None
    return _facts(name, pools).slots


def _facts(name: str, pools: Mapping[str, Pool]) -> PoolFacts:
    pool = _pool(name, pools)
    return PoolFacts(pool.slots if pool.slots >= 0 else _ENDLESS, pool.include_deferred)


def _check(where: str, name: str, slots: int, pools: Mapping[str, Pool]) -> None:
    if name != DEFAULT_POOL and name not in pools:
        raise DagError(
            f'{where}: there is no pool "{name}"{_known(pools)}. '
            f"Add it to appliance.yaml: pools: {{{name}: 8}}"
        )
    pool = _pool(name, pools)
    if 0 <= pool.slots < slots:
        raise DagError(
            f'{where} wants {slots} slots of the pool "{name}", which has '
            f"{pool.slots}: it could never run. Give the pool more, or set pool_slots."
        )


def _pool(name: str, pools: Mapping[str, Pool]) -> Pool:
    return pools.get(name, _DEFAULT)


def _known(pools: Iterable[str]) -> str:
    names = ", ".join(sorted(pools))
    return f" (there is {names})" if names else ""
