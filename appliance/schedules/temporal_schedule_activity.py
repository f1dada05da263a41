"""Activity behind the trigger button of a Temporal Schedule: makes the run that a person asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from appliance.errors import DagError
from appliance.schedules.client import SchedulesClient
from appliance.schedules.messages import ACT, Occasion
from appliance.temporal.connection import workflow_id
from appliance.temporal.waiting import not_yet


@dataclass(frozen=True, slots=True)
class TemporalScheduleActivities:
    """Activity of one worker."""

    schedules: SchedulesClient

    @property
    def activities(self) -> Sequence[Callable[..., Any]]:
        """All of them, as a worker takes them."""
        return (self.act_on_schedule,)

    @activity.defn(name=ACT)
    async def act_on_schedule(self, occasion: Occasion) -> str:
        """Start one run, however often this is tried; return what was done.

        Raises:
            ApplicationError: the run cannot be started, or there is no scheduler yet (Temporal tries again).
        """
        action = occasion.action
        if action.timetable is not None:  # The clock of a Temporal Schedule of 0.1.
            return "nothing: the scheduler makes the runs of this schedule by itself"
        schedules = await self.schedules.schedules(action.name)
        if not schedules.is_ready:
            raise not_yet("there is no scheduler yet")
        row = next(iter(schedules.rows), None)
        if row is None:
            raise _refused(f"there is no schedule {action.name!r} any more")
        try:
            runs = await self.schedules.steer("trigger", [row.name], at=occasion.at)
        except DagError as err:
            raise _refused(str(err)) from err
        return f"started {workflow_id(row.dag_id, runs[row.name])}"


def _refused(why: str) -> ApplicationError:
    return ApplicationError(why, non_retryable=True)
