"""Readers of histories: the state of an entity workflow from its messages, one class per workflow type.

No workflow code runs, so a history of another version can be read where it can no longer be replayed: names and
fields of messages never change. What only activities reported (lost runs and leases) the next workflow finds again.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from temporalio.api.history.v1 import HistoryEvent

from appliance.active_runs.input_checks import of_card
from appliance.active_runs.messages import (
    CLOSED_SIGNAL,
    DAG_WORKFLOW,
    ENTER_UPDATE,
    LOST_SIGNAL,
    LostRun,
    RunAnnouncement,
    RunEnd,
)
from appliance.active_runs.model import ActiveRuns
from appliance.pools.input_checks import of_lease
from appliance.pools.messages import (
    GIVE_BACK_SIGNAL,
    POOL_WORKFLOW,
    WANT_UPDATE,
    SlotRequest,
    SlotReturn,
)
from appliance.pools.model import Pool
from appliance.schedules.input_checks import of_declarations, of_slots
from appliance.schedules.messages import (
    COVERED_SIGNAL,
    DECLARE_UPDATE,
    FIND_ENDED_RUNS,
    SCHEDULER_WORKFLOW,
    START_RUNS,
    STEER_UPDATE,
    BackfilledRuns,
    DeclareRequest,
    RunOrder,
    RunOutcome,
    SteerRequest,
)
from appliance.schedules.model import Scheduler

Decode = Callable[..., Awaitable[list[Any]]]


class HistoryReader(Protocol):
    """Reads the events of one history, after the first one, and holds the state of its workflow."""

    async def hear(self, event: HistoryEvent, decode: Decode) -> None:
        """Take in one event."""

    def state(self) -> dict[str, Any]:
        """Return what is known now."""


class _Dag:
    """``appliance.active_runs.workflow``."""

    def __init__(self, known: dict[str, Any]) -> None:
        self._roster = ActiveRuns.from_json(known)

    async def hear(self, event: HistoryEvent, decode: Decode) -> None:
        """Take in who announced itself, ended or was lost."""
        told = _Message(event, decode)
        if told.name == ENTER_UPDATE:
            for entry in await told.said(list[RunAnnouncement]):
                if of_card(entry.card) is None:
                    self._roster.announce(entry.card, entry.limit)
        elif told.name == CLOSED_SIGNAL:
            closing: RunEnd | None = await told.said(RunEnd)
            if closing is not None and of_card(closing.card) is None:
                self._roster.close(closing.card, closing.tasks)
        elif told.name == LOST_SIGNAL:
            for run in await told.said(list[LostRun]) or ():
                self._roster.lose(run.run_id, run.execution)
        else:
            return
        self._roster.admit()

    def state(self) -> dict[str, Any]:
        """Return the runs."""
        return self._roster.to_json()


class _Pool:
    """``appliance.pools.workflow``."""

    def __init__(self, known: dict[str, Any]) -> None:
        self._pool = Pool.from_json(known)

    async def hear(self, event: HistoryEvent, decode: Decode) -> None:
        """Take in who wanted slots or gave some back."""
        told = _Message(event, decode)
        if told.name == WANT_UPDATE:
            wishes: list[SlotRequest] = await told.said(list[SlotRequest])
            for wish in wishes:
                if of_lease(wish.lease) is not None:
                    continue
                self._pool.want(
                    wish.lease,
                    wish.capacity,
                    is_in_force=wish.is_in_force,
                    has_begun=wish.has_begun,
                )
        elif told.name == GIVE_BACK_SIGNAL:
            given: SlotReturn | None = await told.said(SlotReturn)
            if given is None:
                return
            self._pool.give_back(given.lease_ids)
            if given.workflow_id is not None:
                self._pool.give_back_all(given.workflow_id)
        else:
            return
        self._pool.lend()

    def state(self) -> dict[str, Any]:
        """Return the leases."""
        return self._pool.to_json()


class _Scheduler:
    """``appliance.schedules.workflow``."""

    def __init__(self, known: dict[str, Any]) -> None:
        self._scheduler = Scheduler.from_json(known)
        self._starting: dict[int, list[RunOrder]] = {}
        """By event id: what was to be started, and nobody has said yet whether it was."""
        self._looking: set[int] = set()

    async def hear(self, event: HistoryEvent, decode: Decode) -> None:
        """Take in what was declared, what people wanted, and which runs were made."""
        told = _Message(event, decode)
        if told.name == DECLARE_UPDATE:
            declared: DeclareRequest = await told.said(DeclareRequest)
            if of_declarations(declared.changed) is None:
                self._scheduler.remove(declared.removed)
                self._scheduler.declare(declared.changed)
        elif told.name == STEER_UPDATE:
            self._steer(await told.said(SteerRequest))
        elif told.name == COVERED_SIGNAL:
            made: BackfilledRuns | None = await told.said(BackfilledRuns)
            if made is not None and of_slots(made.slots) is None:
                for slot in made.slots:
                    self._scheduler.record_backfilled(made.dag_id, slot)
        else:
            await self._hear_activity(event, decode)

    def state(self) -> dict[str, Any]:
        """Return the schedules; what was being started at the end is to be started."""
        for wanted in self._starting.values():
            for order in wanted:
                self._scheduler.record_unconfirmed(order.dag_id, order.slot)
        return self._scheduler.to_json()

    def _steer(self, wanted: SteerRequest) -> None:
        for name in wanted.names:
            if self._scheduler.find(name) is None:
                continue
            if wanted.verb == "pause":
                self._scheduler.pause(name)
            elif wanted.verb == "resume":
                self._scheduler.resume(name)

    async def _hear_activity(self, event: HistoryEvent, decode: Decode) -> None:
        begun = event.activity_task_scheduled_event_attributes
        if begun.activity_type.name == START_RUNS:
            wanted = (await decode(begun.input.payloads, [list[RunOrder]]))[0]
            scheduled = [one for one in wanted if one.run_type != "manual"]
            for order in scheduled:
                self._scheduler.record_made(order.dag_id, order.slot)
            self._starting[event.event_id] = scheduled
        elif begun.activity_type.name == FIND_ENDED_RUNS:
            self._looking.add(event.event_id)
        done = event.activity_task_completed_event_attributes
        self._starting.pop(done.scheduled_event_id, None)
        if done.scheduled_event_id in self._looking:
            for seen in (await decode(done.result.payloads, [list[RunOutcome]]))[0]:
                run = seen.run
                is_success = seen.is_success if seen.is_known else None
                self._scheduler.record_end_of_run(
                    run.dag_id, run.run_id, is_success=is_success
                )


class _Message:
    """What one event brings of outside; ``name`` is empty when it brings nothing."""

    def __init__(self, event: HistoryEvent, decode: Decode) -> None:
        self._decode = decode
        signal = event.workflow_execution_signaled_event_attributes
        update = event.workflow_execution_update_accepted_event_attributes
        asked = update.accepted_request.input
        self.name = signal.signal_name or asked.name
        self._is_signal = bool(signal.signal_name)
        self._payloads = (signal.input if self._is_signal else asked.args).payloads

    async def said(self, kind: Any) -> Any:
        """Return it; None for a signal that cannot be read, which the workflow has dropped, too."""
        try:
            return (await self._decode(self._payloads, [kind]))[0]
        except Exception:
            if self._is_signal:
                return None
            raise


HISTORY_READERS: Mapping[str, Callable[[dict[str, Any]], HistoryReader]] = {
    DAG_WORKFLOW: _Dag,
    POOL_WORKFLOW: _Pool,
    SCHEDULER_WORKFLOW: _Scheduler,
}
