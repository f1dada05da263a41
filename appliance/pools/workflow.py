"""The workflow that stands for a pool: it lends slots to task instances of any run.

While somebody waits, those who have slots are looked at every few seconds, so that nothing is held for a run that is
gone. A new one, after somebody terminated the last, takes over what that knew. The history stays small.
"""

import asyncio
from collections.abc import Collection
from datetime import timedelta

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
        entity_takeover,
        input_checks,
        messages,
    )
    from appliance.temporal.limits import shortened

_MOST_EVENTS = 1000
_LOOK_AGAIN = RetryPolicy(
    initial_interval=timedelta(seconds=10), backoff_coefficient=1.0
)
_LOOK_TIMEOUT = timedelta(seconds=60)


@workflow.defn(name=POOL_WORKFLOW, failure_exception_types=(TypeError,))
class AirflowPool:
    """One pool."""

    @workflow.init
    def __init__(self, state: PoolState) -> None:
        """Take over what was known."""
        input_checks.refuse(input_checks.of_state(state, state.packed))
        self._name = state.pool
        known = compression.unpacked(state.packed) if state.packed else {}
        self._pool = Pool.from_json(known)
        self._is_ready = state.packed is not None
        self._lent: list[SlotLease] = []
        self._watch: asyncio.Task[None] | None = None

    @workflow.run
    async def run(self, _state: PoolState) -> None:
        """Never end, but continue as new."""
        if not self._is_ready:
            await self._rebuild()
        while not self._is_long():
            await workflow.wait_condition(
                lambda: bool(self._lent) or self._must_watch() or self._is_long()
            )
            if self._must_watch():
                self._watch = asyncio.create_task(self._watch_holders())
            await self._tell_lent()
        await workflow.wait_condition(workflow.all_handlers_finished)
        await self._tell_lent()
        workflow.continue_as_new(
            PoolState(self._name, compression.packed_state(self._pool))
        )

    @workflow.update(name=WANT_UPDATE)
    async def want(self, wishes: list[SlotRequest]) -> list[bool]:
        """Take in who wants slots; tell of each whether it has them now. The others are told by a signal."""
        for wish in wishes:
            input_checks.refuse(of_lease(wish.lease))
        await workflow.wait_condition(lambda: self._is_ready)
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
        await workflow.wait_condition(lambda: self._is_ready)
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
        if not self._is_ready:
            raise RuntimeError("it has not taken over yet what an earlier one knew")
        return compression.packed_state(self._pool)

    async def _rebuild(self) -> None:
        self._pool = Pool.from_json(await entity_takeover.taken_over())
        self._is_ready = True

    async def _tell_lent(self) -> None:
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

    def _must_watch(self) -> bool:
        """Whether some wait for others, and nobody looks at those."""
        is_idle = self._watch is None or self._watch.done()
        return is_idle and bool(self._pool.waiting and self._pool.held)

    def _is_long(self) -> bool:
        return workflow.info().get_current_history_length() > _MOST_EVENTS

    async def _watch_holders(self) -> None:
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
