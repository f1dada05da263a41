"""What a worker does when a Temporal Schedule has started its workflow.

Temporal tells the workflow a time and nothing of who wanted it. One whose times Temporal does not know was triggered by
a person. Otherwise a time long before the workflow was started is one of a backfill; the time of a run the timetable has is its
clock's, which rings; and any other time is that of a person who pressed "trigger".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from appliance.dagrun.roster import RunQuestion
from appliance.dagrun.slots import Slot
from appliance.errors import DagError
from appliance.temporal import orders
from appliance.temporal.client.schedules import Schedules
from appliance.temporal.connection import workflow_id
from appliance.temporal.orders import (
    BackfillRequest,
    Covered,
    Occasion,
    PlannedRun,
    RunOrder,
    ScheduleRow,
    TimetableQuestion,
)
from appliance.temporal.worker.backfilling import Backfilling
from appliance.temporal.worker.clerk import not_yet
from appliance.temporal.worker.dispatch import Dispatch
from appliance.temporal.worker.registry import Registry

_LATE = timedelta(seconds=60)
"""A Temporal Schedule is never as late: it lets go what it missed."""
_BEFORE = timedelta(seconds=1)
_COMING = 3
"""The first may be the latest that is over."""
_REQUEST = BackfillRequest("", "", "")


@dataclass(frozen=True, slots=True)
class Acting:
    """This activity."""

    schedules: Schedules
    registry: Registry
    dispatch: Dispatch
    backfilling: Backfilling

    @property
    def activities(self) -> Sequence[Callable[..., Any]]:
        """All of them, as a worker takes them."""
        return (self.act_on_schedule,)

    @activity.defn(name=orders.ACT)
    async def act_on_schedule(self, occasion: Occasion) -> str:
        """Do what the time asks for, once however often it is told; return what that was.

        Raises:
            ApplicationError: it cannot be done, or not yet.
        """
        action = occasion.action
        known = await self.schedules.schedules(action.name)
        if not known.is_ready:
            raise not_yet("there is no scheduler yet")
        row = next(iter(known.rows), None)
        if row is None:
            raise _refused(f"there is no schedule {action.name!r} any more")
        if action.timetable is None:
            return await self._trigger(row, occasion.at)
        at = datetime.fromisoformat(occasion.at)
        if datetime.fromisoformat(occasion.started) - at > _LATE:
            return await self._backfill(row, await self._slot(occasion, row))
        foreseen = (row.next_run, row.last.run_after if row.last else None)
        if occasion.at not in foreseen and await self._slot(occasion, row) is None:
            return await self._trigger(row, occasion.at)
        await self.schedules.ring(row.name)
        return "told the scheduler"

    async def _slot(self, occasion: Occasion, row: ScheduleRow) -> Slot | None:
        """Return the run the timetable has for this time."""
        at = datetime.fromisoformat(occasion.at)
        question = TimetableQuestion(
            ask="coming",
            timetable=occasion.action.timetable or {},
            now=(at - _BEFORE).isoformat(),
            earliest=row.start_date,
            latest=row.end_date,
            limit=_COMING,
            run_type=orders.BACKFILL_TYPE,
        )
        (answer,) = await self.dispatch.ask_timetables([question])
        if answer.error is not None or not answer.is_asked:
            raise not_yet(f"its timetable does not answer: {answer.error or 'busy'}")
        return next((slot for slot in answer.slots if slot.at == at.timestamp()), None)

    async def _trigger(self, row: ScheduleRow, at: str) -> str:
        try:
            runs = await self.schedules.steer("trigger", [row.name], at=at)
        except DagError as err:
            raise _refused(str(err)) from err
        return f"started {workflow_id(row.dag_id, runs[row.name])}"

    async def _backfill(self, row: ScheduleRow, slot: Slot | None) -> str:
        """Make one run of a past period as a backfill does that makes no run again."""
        if slot is None:
            raise _refused("the schedule has no run at that time")
        if row.is_barred:
            raise _refused(f"{row.name}: {row.note}")
        is_own = row.name == row.dag_id
        planned = await (self._planned(row, slot) if is_own else self._free(row, slot))
        if planned.reason is not None:
            return f"{planned.slot.run_id}: {planned.reason}"
        order = RunOrder(
            row.dag_id,
            planned.slot,
            run_type=orders.BACKFILL_TYPE,
            conf=row.conf,
            lane=f"page-{row.name}",
            max_active_runs=_REQUEST.max_active_runs,
        )
        (error,) = await self.dispatch.start_runs([order])
        if error is not None:
            raise _refused(error)
        if is_own:
            await self.schedules.covered(Covered(row.dag_id, [planned.slot]))
        return f"started {workflow_id(row.dag_id, planned.slot.run_id)}"

    async def _planned(self, row: ScheduleRow, slot: Slot) -> PlannedRun:
        """Have a backfill of the DAG say what it would make of this run."""
        at = slot.start or slot.partition_date or slot.run_after
        request = BackfillRequest(row.dag_id, at, at, conf=row.conf)
        plan = await self.backfilling.plan_backfill(request)
        if plan.refusal is not None:
            raise _refused(plan.refusal)
        if not plan.runs:
            raise _refused("the DAG has no run at that time")
        return plan.runs[0]

    async def _free(self, row: ScheduleRow, slot: Slot) -> PlannedRun:
        """Say the same for a schedule of appliance.yaml, of which the DAG knows nothing."""
        slot = replace(slot, run_id=f"{slot.run_id}__{row.name}")
        found = await self.registry.find(
            row.dag_id, RunQuestion(run_ids=(slot.run_id,))
        )
        return PlannedRun(slot, "already exists" if found else None)


def _refused(why: str) -> ApplicationError:
    return ApplicationError(why, non_retryable=True)
