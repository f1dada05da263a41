"""``AirflowPool``, one workflow per pool: lends slots to task instances of all runs.

While somebody waits, those who have slots are looked at every few seconds, so that nothing is held for a run that is
gone. A new one, after somebody terminated the last, takes over what that knew. The history stays small.
"""

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from appliance.pools.details import pool_table
    from appliance.pools.input_checks import of_lease
    from appliance.pools.messages import (
        FIND_LOST_LEASES,
        GIVE_BACK_SIGNAL,
        HELD_QUERY,
        LENT_SIGNAL,
        POOL_WORKFLOW,
        WANT_UPDATE,
        PoolState,
        SlotRequest,
        SlotReturn,
    )
    from appliance.pools.model import Pool, SlotLease
    from appliance.temporal import (
        compression,
        input_checks,
        messages,
    )
    from appliance.temporal.entity_loop import EntityLoop
    from appliance.temporal.limits import shortened

_LOOK_AGAIN = RetryPolicy(
    initial_interval=timedelta(seconds=10), backoff_coefficient=1.0
)
_LOOK_TIMEOUT = timedelta(seconds=60)


@workflow.defn(name=POOL_WORKFLOW, failure_exception_types=(TypeError,))
class AirflowPool(EntityLoop):
    """One pool."""

    @workflow.init
    def __init__(self, state: PoolState) -> None:
        """Take over what was known."""
        input_checks.refuse(input_checks.of_state(state, state.packed))
        self._name = state.pool
        self._lent: list[SlotLease] = []
        super().__init__(state.packed)

    @workflow.run
    async def run(self, _state: PoolState) -> None:
        """Never end, but continue as new."""
        await self.serve()

    @workflow.update(name=WANT_UPDATE)
    async def want(self, wishes: list[SlotRequest]) -> list[bool]:
        """Take in who wants slots; tell of each whether it has them now. The others are told by a signal."""
        for wish in wishes:
            input_checks.refuse(of_lease(wish.lease))
        await self.ready()
        for wish in wishes:
            self._pool.want(
                wish.lease,
                wish.capacity,
                is_in_force=wish.is_in_force,
                has_begun=wish.has_begun,
            )
        asking = {wish.lease.lease_id for wish in wishes}
        # More slots than before are for others, too.
        self._lend(told=asking)
        return [wish.lease.lease_id in self._pool.held for wish in wishes]

    @workflow.signal(name=GIVE_BACK_SIGNAL)
    async def give_back(self, given: SlotReturn) -> None:
        """Take back slots."""
        await self.ready()
        self._pool.give_back(given.lease_ids)
        if given.workflow_id is not None:
            self._pool.give_back_all(given.workflow_id)
        self._lend()

    @workflow.query(name=HELD_QUERY)
    def held(self) -> list[SlotLease]:
        """Return the leases that others wait for; none when nobody waits."""
        return list(self._pool.held.values()) if self._pool.waiting else []

    @workflow.query(name=messages.STATE_QUERY)
    def state(self) -> str:
        """Return everything known, packed; fails while it is not known what an earlier one knew."""
        return self.known_state()

    def restore(self, state: Any) -> None:
        """Take this state."""
        self._pool = Pool.from_json(state)

    def packed(self) -> str:
        """Return the state."""
        return compression.packed_state(self._pool)

    def next_input(self) -> PoolState:
        """Return the input of the next run."""
        return PoolState(self._name, self.packed())

    def has_signals(self) -> bool:
        """Whether task instances that have slots now have not been told so."""
        return bool(self._lent)

    def is_contended(self) -> bool:
        """Whether task instances wait for the slots of others."""
        return bool(self._pool.waiting and self._pool.held)

    async def send_signals(self) -> None:
        """Tell runs which of their task instances have slots now."""
        while self._lent:
            workflow_id = self._lent[0].workflow_id
            its = [x.lease_id for x in self._lent if x.workflow_id == workflow_id]
            self._lent = [x for x in self._lent if x.workflow_id != workflow_id]
            handle = workflow.get_external_workflow_handle(workflow_id)
            try:
                await handle.signal(LENT_SIGNAL, its)
            except ApplicationError:
                self._pool.give_back_all(workflow_id)
                self._lend()

    def _lend(self, *, told: Collection[str] = ()) -> None:
        """Lend what is left; all but those who are told anyway get a signal."""
        lent = self._pool.lend()
        self._lent += [lease for lease in lent if lease.lease_id not in told]
        self._draw()

    def _draw(self) -> None:
        pool = self._pool
        held = list(pool.held.values())
        workflow.set_current_details(pool_table(pool.capacity, held, len(pool.waiting)))

    async def watch(self) -> None:
        """Learn of leases nobody has any more; the activity leaves no events until there is one."""
        gone: list[str] = await workflow.execute_activity(
            FIND_LOST_LEASES,
            self._name,
            result_type=list[str],
            start_to_close_timeout=_LOOK_TIMEOUT,
            retry_policy=_LOOK_AGAIN,
            summary=shortened(f"who still has slots of {self._name}"),
        )
        self._pool.give_back(gone)
        self._lend()
