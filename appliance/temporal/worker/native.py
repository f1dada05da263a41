"""Times that Temporal computes as Airflow does, and the proof.

Temporal reads crons in its own way: day of month and day of week must both fit, ``#`` begins a comment, the hour a clock
change leaves out is left out. So it is only told a cron when it then names, for more than a year, the very times
Airflow's timetable names.
"""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.workflowservice.v1 import ListScheduleMatchingTimesRequest
from temporalio.client import Client, ScheduleSpec

from appliance.temporal.orders import ScheduleRow, TimetableAnswer, TimetableQuestion

_PERIOD = timedelta(days=400)
"""Has both clock changes of any time zone."""
_MOST_TIMES = 10_000
"""Once an hour, for that long; what runs more often is not compared."""
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


class Proofs:
    """Compares, and remembers what came of it."""

    def __init__(self, client: Client, ask: Ask) -> None:
        """``ask`` has Airflow's timetables answer."""
        self._client = client
        self._ask = ask
        self._known: dict[str, bool] = {}

    async def are_equal(self, schedule_id: str, row: ScheduleRow) -> bool:
        """Tell whether a Temporal Schedule that has been told the candidate has the times of the timetable."""
        now = datetime.now(UTC)  # noqa: TID251  # the edge that takes the time
        begin, end = now + timedelta(seconds=_FRESH_S), now + _PERIOD
        earliest, latest = row.start_date, _moment(row.end_date) or end
        if earliest is not None and datetime.fromisoformat(earliest) < now:
            earliest = None  # It makes no difference any more.
        key = json.dumps((row.timetable, earliest, row.end_date), sort_keys=True)
        if key not in self._known:
            found = await self._temporals(schedule_id, begin, end)
            question = TimetableQuestion(
                ask="coming",
                timetable=row.timetable,
                now=begin.isoformat(),
                earliest=earliest,
                latest=min(latest, end).isoformat(),
                limit=len(found) + _MORE,
            )
            self._known[key] = (
                len(found) <= _MOST_TIMES
                and await self._airflows(question, begin, end) == found
            )
        return self._known[key]

    async def _temporals(
        self, schedule_id: str, begin: datetime, end: datetime
    ) -> list[datetime]:
        """Return the times of a period, or so many of them that they are too many."""
        found = [begin]
        while len(found) <= _MOST_TIMES + 1:
            request = ListScheduleMatchingTimesRequest(
                namespace=self._client.namespace,
                schedule_id=schedule_id,
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

    async def _airflows(
        self, question: TimetableQuestion, begin: datetime, end: datetime
    ) -> list[datetime]:
        """Return the times of a period, or none when nobody knows them."""
        (answer,) = await self._ask([question])
        found = [datetime.fromtimestamp(slot.at, UTC) for slot in answer.slots]
        return [at for at in found if begin < at <= end]


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _stamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp
