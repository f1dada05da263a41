"""Activities and client of pool workflows: request slots, return them, find leases that nobody holds any more."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowQueryFailedError,
)
from temporalio.service import RPCError, RPCStatusCode

from appliance.config.model import Config
from appliance.dagrun.states import TaskState
from appliance.pools.contention import slots_of
from appliance.pools.messages import (
    FIND_LOST_LEASES,
    GIVE_BACK_SIGNAL,
    GIVE_BACK_SLOTS,
    HELD_QUERY,
    LENT_SIGNAL,
    POOL_WORKFLOW,
    REMIND_POOLS,
    WANT_SLOTS,
    WANT_UPDATE,
    WANTED_QUERY,
    PoolState,
    SlotRequest,
    SlotReturn,
)
from appliance.pools.model import SlotLease
from appliance.temporal import messages
from appliance.temporal.batching import BatchingPerKey
from appliance.temporal.entity_client import EntityClient
from appliance.temporal.messages import TaskRow
from appliance.temporal.waiting import not_yet

_SOON = timedelta(seconds=10)
_MAY_HOLD = frozenset(
    (
        TaskState.SCHEDULED,
        TaskState.QUEUED,
        TaskState.RUNNING,
        TaskState.DEFERRED,
        TaskState.AWAITING_INPUT,
    )
)


def pool_workflow_id(pool: str) -> str:
    """Id of the workflow that stands for a pool."""
    return f"airflow-pool-{pool}"


class PoolActivities:
    """All pools on one server."""

    def __init__(self, client: Client, config: Config) -> None:
        """``config`` says how many slots each has, whatever a run knows that began earlier."""
        self._client = client
        self._config = config
        self._pools = EntityClient(client, config.temporal.task_queue, POOL_WORKFLOW)
        self._asking = BatchingPerKey(self._want)

    def reconfigure(self, config: Config) -> None:
        """Lend by this configuration from now on."""
        self._config = config

    @property
    def activities(self) -> Sequence[Callable[..., Any]]:
        """All of them, as a worker takes them."""
        return (
            self.want_slots,
            self.remind_pools,
            self.give_back_slots,
            self.find_lost_leases,
        )

    @activity.defn(name=WANT_SLOTS)
    async def want_slots(self, wish: SlotRequest) -> bool:
        """Ask for slots; tell whether they are there now. Many at once become one request a pool."""
        return await self._asking(wish.pool, wish)

    @activity.defn(name=REMIND_POOLS)
    async def remind_pools(self, workflow: str) -> None:
        """Ask again for what the instances of a run wait for, until none does.

        Raises:
            ApplicationError: some wait.
        """
        handle = self._client.get_workflow_handle(workflow)
        wanted: list[SlotRequest] = await handle.query(
            WANTED_QUERY, result_type=list[SlotRequest]
        )
        lent = [w.lease.lease_id for w in wanted if await self.want_slots(w)]
        if lent:
            await handle.signal(LENT_SIGNAL, lent)
        if wanted:
            raise not_yet("task instances wait for slots")

    @activity.defn(name=GIVE_BACK_SLOTS)
    async def give_back_slots(self, given: SlotReturn) -> None:
        """Give slots back."""
        name, state = pool_workflow_id(given.pool), PoolState(given.pool)
        await self._pools.signal(name, state, signal=GIVE_BACK_SIGNAL, argument=given)

    @activity.defn(name=FIND_LOST_LEASES)
    async def find_lost_leases(self, pool: str) -> list[str]:
        """Return which leases that others wait for nobody has any more; nothing when nobody waits.

        Raises:
            ApplicationError: all are held, and others wait.
        """
        handle = self._client.get_workflow_handle(pool_workflow_id(pool))
        held: list[SlotLease] = await handle.query(
            HELD_QUERY, result_type=list[SlotLease]
        )
        gone: list[str] = []
        for workflow in dict.fromkeys(lease.workflow_id for lease in held):
            its = [lease for lease in held if lease.workflow_id == workflow]
            holding = await self._holding(workflow)
            if holding is not None:
                gone += [
                    lease.lease_id
                    for lease in its
                    if (lease.task_id, lease.map_index) not in holding
                ]
        if held and not gone:
            raise not_yet("all slots are in use", _SOON)
        return gone

    async def _want(self, pool: str, wishes: list[SlotRequest]) -> list[bool]:
        answers: list[bool] = await self._pools.update(
            pool_workflow_id(pool),
            PoolState(pool),
            update=WANT_UPDATE,
            argument=[self._in_force(wish) for wish in wishes],
            result_type=list[bool],
        )
        return answers

    def _in_force(self, wish: SlotRequest) -> SlotRequest:
        slots = slots_of(wish.pool, self._config.pools)
        return (
            wish if slots is None else replace(wish, capacity=slots, is_in_force=True)
        )

    async def _holding(self, workflow: str) -> set[tuple[str, int]] | None:
        """Return the instances of a run that may hold slots; None when that cannot be found out now."""
        handle = self._client.get_workflow_handle(workflow)
        try:
            seen = await handle.describe()
            if seen.status is not WorkflowExecutionStatus.RUNNING:
                return set()
            rows: list[TaskRow] = await handle.query(
                messages.STATES_QUERY, result_type=list[TaskRow]
            )
        except WorkflowQueryFailedError:
            return None
        except RPCError as err:
            return set() if err.status == RPCStatusCode.NOT_FOUND else None
        return {(row.task_id, row.map_index) for row in rows if row.state in _MAY_HOLD}
