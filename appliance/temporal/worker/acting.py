"""What a worker does when a Temporal Schedule has started its workflow.

Temporal tells the workflow a time and nothing of who wanted it. A time that the schedule's timetable has means the run
of that time: now, that is the scheduler's to make; long ago, somebody backfills. Any other time is that of a person who
pressed "trigger".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
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
    Covered,
    Occasion,
    RunOrder,
    ScheduleRow,
    TimetableQuestion,
)
from appliance.temporal.worker.dispatch import Dispatch
from appliance.temporal.worker.registry import Registry

_NOW_S = 60.0
"""How late a Temporal Schedule may be; what is older, a person wants."""
_BEFORE = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Acting:
    """This activity."""

    schedules: Schedules
    registry: Registry
    dispatch: Dispatch

    @property
    def activities(self) -> Sequence[Callable[..., Any]]:
        """All of them, as a worker takes them."""
        return (self.act_on_schedule,)

    @activity.defn(name=orders.ACT)
    async def act_on_schedule(self, occasion: Occasion) -> str:
        """Do what the time asks for, once however often it is told; return what that was.

        Raises:
            ApplicationError: it cannot be done.
        """
        rows = (await self.schedules.schedules()).rows
        row = next((row for row in rows if row.name == occasion.name), None)
        if row is None:
            raise _refused(f"there is no schedule {occasion.name!r} any more")
        at = datetime.fromisoformat(occasion.at)
        slot = await self._slot(row, at)
        if slot is None:
            return await self._trigger(row, occasion.at)
        now = datetime.now(UTC)  # noqa: TID251  # the edge that takes the time
        if (now - at).total_seconds() < _NOW_S:
            await self.schedules.ring(row.name)
            return "told the scheduler"
        return await self._backfill(row, slot)

    async def _slot(self, row: ScheduleRow, at: datetime) -> Slot | None:
        """Return the run the timetable has for this time."""
        question = TimetableQuestion(
            ask="coming",
            timetable=row.timetable,
            now=(at - _BEFORE).isoformat(),
            earliest=row.start_date,
            latest=row.end_date,
            limit=2,  # The first may be the latest that is over.
            run_type=orders.BACKFILL_TYPE,
        )
        (answer,) = await self.dispatch.ask_timetables([question])
        if answer.error is not None:
            raise _refused(f"its timetable fails: {answer.error}")
        return next((slot for slot in answer.slots if slot.at == at.timestamp()), None)

    async def _trigger(self, row: ScheduleRow, at: str) -> str:
        try:
            runs = await self.schedules.steer("trigger", [row.name], at=at)
        except DagError as err:
            raise _refused(str(err)) from err
        return f"started {workflow_id(row.dag_id, runs[row.name])}"

    async def _backfill(self, row: ScheduleRow, slot: Slot) -> str:
        question = RunQuestion(run_ids=(slot.run_id,))
        if slot.start is not None:
            question = RunQuestion(logical_dates=(slot.start,))
        if found := await self.registry.find(row.dag_id, question):
            return f"there has been a run: {found[0].card.run_id}"
        order = RunOrder(row.dag_id, slot, run_type=orders.BACKFILL_TYPE, conf=row.conf)
        (error,) = await self.dispatch.start_runs([order])
        if error is not None:
            raise _refused(error)
        await self.schedules.covered(Covered(row.dag_id, [slot]))
        return f"started {workflow_id(row.dag_id, slot.run_id)}"


def _refused(why: str) -> ApplicationError:
    return ApplicationError(why, non_retryable=True)
