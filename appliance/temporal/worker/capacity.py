"""Which pools of a DAG may run out of slots, so that its tasks have to ask for them.

A pool that has a slot for everything the workers can run at once holds nobody up, and nobody asks.
"""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client
from temporalio.service import RPCError

from appliance.config.model import DEFAULT_POOL, Config, Pool
from appliance.errors import DagError
from appliance.temporal.messages import PoolFacts

_DEFAULT = Pool(128)
"""Airflow's ``default_pool``, if nobody has set another."""
_ENDLESS = 2**31
_COUNT_AGAIN_S = 30.0


class Capacity:
    """What the workers of one queue can run at once."""

    def __init__(self, client: Client) -> None:
        """Nothing is counted yet."""
        self._client = client
        self._workers = 1
        self._counted_at = float("-inf")

    async def tight_pools(
        self,
        file: str,
        plan: Mapping[str, Any],
        config: Config,
        weights: Mapping[str, int],
    ) -> dict[str, PoolFacts]:
        """Return the pools of a plan whose slots may all be taken.

        Args:
            file: Of the DAG.
            plan: What it consists of.
            config: The configuration in force.
            weights: How many slots tasks of any DAG take of each pool, the largest of them: those count
                only if everybody asks.

        Raises:
            DagError: a task wants a pool there is not, or more slots than it has.
        """
        wanted: dict[str, int] = {}
        for task_id, row in plan["tasks"].items():
            name, slots = row.get("pool", DEFAULT_POOL), row.get("slots", 1)
            where = f'{file}: DAG "{plan["dag_id"]}", task "{task_id}"'
            _check(where, name, slots, config.pools)
            wanted[name] = max(slots, wanted.get(name, weights.get(name, 0)))
        workers = await self._count(config.temporal.task_queue)
        at_once = workers * config.worker.parallelism
        found: dict[str, PoolFacts] = {}
        for name, slots in wanted.items():
            pool = _pool(name, config.pools)
            may_be_full = pool.include_deferred or slots * at_once > pool.slots
            if pool.slots >= 0 and may_be_full:
                found[name] = PoolFacts(pool.slots, pool.include_deferred)
        return found

    async def _count(self, queue: str) -> int:
        """Count the workers, now and then."""
        if time.monotonic() - self._counted_at > _COUNT_AGAIN_S:
            self._counted_at = time.monotonic()
            request = DescribeTaskQueueRequest(
                namespace=self._client.namespace,
                task_queue=TaskQueue(name=queue),
                task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
            )
            service = self._client.workflow_service
            try:
                seen = await service.describe_task_queue(request)
            except RPCError:
                return self._workers
            self._workers = max(1, len({poller.identity for poller in seen.pollers}))
        return self._workers


def slots_of(name: str, pools: Mapping[str, Pool]) -> int | None:
    """Return how many slots a pool has; None when there is no such pool."""
    if name != DEFAULT_POOL and name not in pools:
        return None
    slots = _pool(name, pools).slots
    return slots if slots >= 0 else _ENDLESS


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
