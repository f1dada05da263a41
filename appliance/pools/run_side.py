"""What a run does about pools: requests slots for its task instances and returns them.

A lease is named after its instance, so that nothing need be remembered of it, and who holds one can be asked.
Imported by the workflow: deterministic, no clock but ``workflow.now()``.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

from appliance.dagrun.attempt import RunFacts
from appliance.dagrun.events import (
    AskSlots,
    Event,
    HoldSlots,
    PoolsScarce,
    ReturnSlots,
    SlotsAwaited,
    SlotsGranted,
)
from appliance.dagrun.plan import DEFAULT_POOL, Plan, TaskSpec
from appliance.dagrun.states import PARKED, TaskState
from appliance.pools.messages import (
    GIVE_BACK_SLOTS,
    REMIND_POOLS,
    SCARCE_SIGNAL,
    WANT_SLOTS,
    SlotRequest,
    SlotReturn,
)
from appliance.pools.model import SlotLease
from appliance.temporal.messages import DagAnswer, DagExecutionInput, PoolFacts

_TIMEOUT = timedelta(seconds=30)
_REMIND = RetryPolicy(initial_interval=timedelta(seconds=60), backoff_coefficient=1.0)
_RETURN_TRIES = RetryPolicy(maximum_attempts=10)


@dataclass(frozen=True, slots=True)
class _Need:
    pool: str
    capacity: int
    slots: int
    kept_in: frozenset[TaskState]
    """Parked states that count."""


class RunSlots:
    """The leases of one run. One none of whose tasks needs any does nothing."""

    def __init__(
        self, plan: Plan, dag: DagAnswer, report: Callable[[Event], None]
    ) -> None:
        """Ask for nothing yet; ``report`` what happens."""
        self._plan = plan
        self._pools = dict(dag.pools)
        self._report = report
        self._needs = self._needed()
        # Those that have come meanwhile are heard now.
        workflow.set_signal_handler(SCARCE_SIGNAL, self._widen)
        self._lent: set[str] = set()
        self._wanted: dict[str, SlotRequest] = {}
        self._asking: dict[str, set[workflow.ActivityHandle[bool]]] = {}
        """By pool: wishes it has not answered yet."""
        self._doing: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._reminder: workflow.ActivityHandle[None] | None = None

    @property
    def groups(self) -> dict[str, str]:
        """Task id -> what it needs slots of, as one text."""
        return {
            task_id: ", ".join(need.pool for need in needs)
            for task_id, needs in self._needs.items()
        }

    @property
    def exempt(self) -> frozenset[str]:
        """Tasks that do without a slot of their pool as long as it has one for everything."""
        if DEFAULT_POOL in self._pools:
            return frozenset()
        tasks = self._plan.tasks.values()
        return frozenset(task.task_id for task in tasks if task.pool == DEFAULT_POOL)

    def onto(self, request: DagExecutionInput) -> DagExecutionInput:
        """Return the input of a fresh workflow run of this run, which asks the same pools."""
        assert request.dag is not None  # noqa: S101  # as it has run with it
        return replace(request, dag=replace(request.dag, pools=self._pools))

    @property
    def is_settled(self) -> bool:
        """Whether nothing is being asked for or given back, but waited for."""
        wishes = (wish.lease for wish in self._wanted.values())
        waiting = {(lease.task_id, lease.map_index) for lease in wishes}
        return self._doing.keys() <= waiting

    def wanted(self) -> list[SlotRequest]:
        """Return who waits."""
        return list(self._wanted.values())

    def lend(self, lease_ids: list[str]) -> None:
        """Take in what a pool has lent."""
        self._lent.update(lease_ids)

    def carry_out(
        self, decision: AskSlots | HoldSlots | ReturnSlots, facts: RunFacts
    ) -> None:
        """Get an instance all it needs, and report that; or give back what it has."""
        match decision:
            case AskSlots():
                self._ask(facts, decision)
            case HoldSlots():
                self._hold(facts, decision)
            case ReturnSlots():
                self._give_back(facts, decision)

    def _ask(self, facts: RunFacts, decision: AskSlots) -> None:
        """Ask one pool after the other."""

        async def acquire() -> None:
            for need in self._needs[decision.task_id]:
                await self._acquire(facts, need, decision)
            self._report(SlotsGranted(decision.task_id, decision.map_index))

        self._then((decision.task_id, decision.map_index), acquire())

    def _hold(self, facts: RunFacts, decision: HoldSlots) -> None:
        """Have the pools know of an instance that has begun."""

        async def hold() -> None:
            for need in self._needs[decision.task_id]:
                wish = replace(_wish(facts, need, decision), has_begun=True)
                await self._has_at_once(wish)

        self._then((decision.task_id, decision.map_index), hold())

    def _needed(self) -> "dict[str, tuple[_Need, ...]]":
        return {
            task.task_id: needs
            for task in self._plan.tasks.values()
            if (needs := _needs(self._plan.dag_id, task, self._pools))
        }

    def _widen(self, scarce: dict[str, PoolFacts]) -> None:
        """Ask ``default_pool``, too, from now on: a worker has seen that it may run out of slots."""
        facts = scarce.get(DEFAULT_POOL)
        if facts is None or DEFAULT_POOL in self._pools:
            return
        self._pools[DEFAULT_POOL] = facts
        self._needs = self._needed()
        self._report(PoolsScarce(self.groups, self.exempt))

    def _give_back(self, facts: RunFacts, decision: ReturnSlots) -> None:
        instance = (decision.task_id, decision.map_index)
        if instance in self._doing:
            self._doing[instance].cancel()
        for need in self._needs[decision.task_id]:
            if decision.parked in need.kept_in:
                continue
            lease_id = _lease_id(facts, need.pool, decision)
            self._lent.discard(lease_id)
            self._wanted.pop(lease_id, None)
            self._then(instance, self._return(SlotReturn(need.pool, [lease_id])))

    async def end(self, facts: RunFacts) -> None:
        """Give back everything."""
        for task in self._doing.values():
            task.cancel()
        if self._reminder is not None:
            self._reminder.cancel()
        pools = {need.pool: None for needs in self._needs.values() for need in needs}
        await asyncio.gather(
            *(self._return(SlotReturn(pool, [], facts.workflow_id)) for pool in pools)
        )

    async def _acquire(self, facts: RunFacts, need: _Need, asked: AskSlots) -> None:
        wish = _wish(facts, need, asked)
        lease = wish.lease
        self._lent.discard(lease.lease_id)
        if await self._has_at_once(wish) or lease.lease_id in self._lent:
            return
        self._report(SlotsAwaited(asked.task_id, asked.map_index))
        self._wanted[lease.lease_id] = wish
        self._remind(facts)
        await workflow.wait_condition(lambda: lease.lease_id in self._lent)
        self._wanted.pop(lease.lease_id, None)

    async def _has_at_once(self, wish: SlotRequest) -> bool:
        answer = workflow.start_local_activity(
            WANT_SLOTS,
            wish,
            result_type=bool,
            start_to_close_timeout=_TIMEOUT,
            summary=f"a slot of {wish.pool}"[:200],
        )
        asking = self._asking.setdefault(wish.pool, set())
        asking.add(answer)
        answer.add_done_callback(asking.discard)
        return bool(await answer)

    async def _return(self, given: SlotReturn) -> None:
        """Tell a pool once it knows who else of this run wants its slots: they compete for what comes back.

        Should telling fail for long, the pool finds out by itself.
        """
        if asking := self._asking.get(given.pool):
            await asyncio.wait(list(asking))
        try:
            await workflow.execute_local_activity(
                GIVE_BACK_SLOTS,
                given,
                start_to_close_timeout=_TIMEOUT,
                retry_policy=_RETURN_TRIES,
                summary=f"give back slots of {given.pool}"[:200],
            )
        except (ActivityError, ApplicationError) as err:
            workflow.logger.error(
                "slots of %s were not given back: %s", given.pool, err
            )

    def _remind(self, facts: RunFacts) -> None:
        """Have the pools reminded of who waits, by an activity that leaves no events while anybody does."""
        if self._reminder is None or self._reminder.done():
            self._reminder = workflow.start_activity(
                REMIND_POOLS,
                facts.workflow_id,
                start_to_close_timeout=_TIMEOUT,
                retry_policy=_REMIND,
                summary="remind pools of who waits",
            )

    def _then(self, instance: tuple[str, int], work: Coroutine[Any, Any, None]) -> None:
        """Do this when what is being done for an instance is done: a lease is named after it."""
        before = self._doing.get(instance)

        async def do() -> None:
            if before is not None:
                await asyncio.wait([before])
            await work

        task = self._doing[instance] = asyncio.create_task(do())
        task.add_done_callback(lambda done: self._done(instance, done))

    def _done(self, instance: tuple[str, int], task: "asyncio.Task[None]") -> None:
        if self._doing.get(instance) is task:
            del self._doing[instance]


def _needs(
    dag_id: str, task: TaskSpec, pools: dict[str, PoolFacts]
) -> tuple[_Need, ...]:
    """Return what a task needs; always in this order, so that nobody waits in a circle."""
    needs: list[_Need] = []
    if task.max_active_tis_per_dag is not None:
        limit = f"{dag_id}.{task.task_id}: max_active_tis_per_dag"
        needs.append(_Need(limit, task.max_active_tis_per_dag, 1, PARKED))
    if (pool := pools.get(task.pool)) is not None:
        # A person may take for ever: that never counts, as in Airflow.
        kept_in = frozenset({TaskState.DEFERRED} if pool.include_deferred else ())
        needs.append(_Need(task.pool, pool.slots, task.pool_slots, kept_in))
    return tuple(needs)


def _wish(facts: RunFacts, need: _Need, asked: AskSlots | HoldSlots) -> SlotRequest:
    lease = SlotLease(
        lease_id=_lease_id(facts, need.pool, asked),
        workflow_id=facts.workflow_id,
        task_id=asked.task_id,
        map_index=asked.map_index,
        slots=need.slots,
        priority=asked.priority,
        logical_date=facts.logical_date,
        asks=asked.asks,
    )
    return SlotRequest(need.pool, lease, need.capacity)


def _lease_id(
    facts: RunFacts, pool: str, of: AskSlots | HoldSlots | ReturnSlots
) -> str:
    return f"{facts.workflow_id}/{of.task_id}/{of.map_index} {pool}"
