"""Times that Temporal computes as Airflow does, and the proof.

Temporal reads crons in its own way: day of month and day of week must both fit, ``#`` begins a comment, the hour a clock
change leaves out is left out. So it is only told a cron when it then names, for more than a year, the very times
Airflow's timetable names.
"""

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.workflowservice.v1 import ListScheduleMatchingTimesRequest
from temporalio.client import (
    Client,
    Schedule,
    ScheduleAlreadyRunningError,
    ScheduleSpec,
)
from temporalio.service import RPCError, RPCStatusCode

from appliance.temporal.orders import ScheduleRow, TimetableAnswer, TimetableQuestion

_PERIOD = timedelta(days=400)
"""Has both clock changes of any time zone."""
_MOST_TIMES = 10_000
"""Once an hour, for that long; what runs more often is not compared."""
_MOST_KNOWN = 5000
_MORE = 3
"""The first time of a timetable may be over, the last one too late; and there may be one too many."""
_FRESH_S = 60.0
"""What is due while we compare, is left out of it."""
_CRONS = {
    "airflow.timetables.trigger.CronTriggerTimetable": "expression",
    "airflow.timetables.interval.CronDataIntervalTimetable": "expression",
    "airflow.timetables.trigger.MultipleCronTriggerTimetable": "expressions",
}
Ask = Callable[[list[TimetableQuestion]], Awaitable[list[TimetableAnswer]]]


def candidate(row: ScheduleRow) -> ScheduleSpec | None:
    """Return what Temporal would be told; None when it has no words for the timetable."""
    told = row.timetable["__var"]
    field = _CRONS.get(row.timetable["__type"])
    if field is None or not isinstance(told["timezone"], str):
        return None
    crons = told[field]
    return ScheduleSpec(
        cron_expressions=[crons] if isinstance(crons, str) else crons,
        time_zone_name=told["timezone"],
        start_at=_moment(row.start_date),
        end_at=_moment(row.end_date),
    )


def times_of(row: ScheduleRow, now: datetime) -> str:
    """Tell apart what the times of a schedule follow from; a begin that is over makes no difference."""
    earliest = row.start_date
    if earliest is not None and datetime.fromisoformat(earliest) < now:
        earliest = None
    return json.dumps((row.timetable, earliest, row.end_date), sort_keys=True)


class Proofs:
    """Compares, and remembers what came of it."""

    def __init__(self, client: Client, ask: Ask) -> None:
        """``ask`` has Airflow's timetables answer."""
        self._client = client
        self._ask = ask
        self._known: dict[str, bool] = {}

    async def are_equal(
        self, row: ScheduleRow, spec: ScheduleSpec, name: str, draft: Schedule
    ) -> bool | None:
        """Tell whether Temporal tells the times of a timetable; None when the timetable does not answer.

        Args:
            row: The schedule.
            spec: What Temporal would be told.
            name: Id of a Temporal Schedule that is made to ask Temporal, and deleted again.
            draft: The same without a spec, paused.
        """
        now = datetime.now(UTC)  # noqa: TID251  # the edge that takes the time
        key = times_of(row, now)
        if key not in self._known:
            draft.spec = spec
            is_equal = await self._compared(row, name, draft, now)
            if is_equal is None:
                return None
            self._known[key] = is_equal
            if len(self._known) > _MOST_KNOWN:
                del self._known[next(iter(self._known))]
        return self._known[key]

    async def _compared(
        self, row: ScheduleRow, name: str, draft: Schedule, now: datetime
    ) -> bool | None:
        begin, end = now + timedelta(seconds=_FRESH_S), now + _PERIOD
        try:
            found = await self._temporals(name, draft, begin, end)
        except RPCError as err:
            if err.status == RPCStatusCode.INVALID_ARGUMENT:
                return False  # Temporal does not know such a cron.
            raise
        if len(found) > _MOST_TIMES:
            return False
        question = TimetableQuestion(
            ask="coming",
            timetable=row.timetable,
            now=begin.isoformat(),
            earliest=row.start_date,
            latest=min(_moment(row.end_date) or end, end).isoformat(),
            limit=len(found) + _MORE,
        )
        (answer,) = await self._ask([question])
        if answer.error is not None or not answer.is_asked:
            return None
        airflows = [datetime.fromtimestamp(slot.at, UTC) for slot in answer.slots]
        return [at for at in airflows if begin < at <= end] == found

    async def _temporals(
        self, name: str, draft: Schedule, begin: datetime, end: datetime
    ) -> list[datetime]:
        """Return the times of a period, or so many of them that they are too many."""
        try:
            handle = await self._client.create_schedule(name, draft)
        except ScheduleAlreadyRunningError:  # Another worker asks the same.
            handle = self._client.get_schedule_handle(name)
        try:
            found = [begin]
            while len(found) <= _MOST_TIMES + 1:
                request = ListScheduleMatchingTimesRequest(
                    namespace=self._client.namespace,
                    schedule_id=name,
                    start_time=_stamp(found[-1]),
                    end_time=_stamp(end),
                )
                service = self._client.workflow_service
                answer = await service.list_schedule_matching_times(request)
                times = [at.ToDatetime(UTC) for at in answer.start_time]
                new = [at for at in times if found[-1] < at <= end]
                if not new:
                    break
                found += new
            return found[1:]
        finally:
            with suppress(RPCError):
                await handle.delete()


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _stamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
