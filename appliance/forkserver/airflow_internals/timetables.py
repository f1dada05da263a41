"""Private parts of Airflow's timetables that the appliance uses.

* ``timetables.trigger`` and ``timetables.interval`` have ``utcnow`` in their own module, ``simple`` and ``events`` ask
  ``_shared.timezones.timezone.utcnow``, ``trigger.MultipleCronTriggerTimetable`` asks ``time.time``.
* ``serialization.decoders.decode_timetable`` and ``serialization.encoders.encode_timetable``.
* ``models.dagrun.DagRun.generate_run_id``.
* ``timetables.events.EventsTimetable.deserialize`` reads ``_summary`` and takes dates to be in order; what 3.3.2 writes
  of ``airflow.sdk.EventsTimetable`` has neither, so that Airflow's own scheduler fails on it.
* ``timetables._cron.CronMixin._get_prev``: where the clock changes, what 3.3.2 finds before a time may be that time, or
  one after it, and a manual run has an interval of nothing (later versions are right: apache/airflow#70089).
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from airflow._shared.timezones import timezone
from airflow.models.dagrun import DagRun
from airflow.serialization.decoders import decode_timetable
from airflow.serialization.encoders import encode_timetable
from airflow.timetables import _cron, events, interval, trigger
from airflow.timetables.base import DagRunInfo, DataInterval, TimeRestriction
from airflow.utils.types import DagRunType

_CLOCKS: tuple[Any, ...] = (timezone, interval, trigger)

for _module in _CLOCKS:
    if not hasattr(_module, "utcnow"):
        raise ImportError(f"{_module.__name__} has no utcnow: see {__name__}")
if trigger.time is not time:
    raise ImportError(f"{trigger.__name__} asks another clock: see {__name__}")

_deserialize_events = events.EventsTimetable.deserialize


def _deserialize_sdk_events(data: dict[str, Any]) -> Any:
    dates = sorted(data["event_dates"], key=datetime.fromisoformat)
    summary = data.get("_summary") or data["description"] or f"{len(dates)} events"
    return _deserialize_events({**data, "event_dates": dates, "_summary": summary})


events.EventsTimetable.deserialize = staticmethod(_deserialize_sdk_events)

_get_prev = _cron.CronMixin._get_prev  # noqa: SLF001 - pinned, listed above


def _get_earlier(schedule: Any, current: Any) -> Any:
    """Return the last time of a cron before ``current``, an hour that the clock skips or repeats notwithstanding."""
    found = _get_prev(schedule, current)
    if found < current:
        return found
    zone = schedule._timezone  # noqa: SLF001 - pinned, listed above
    cron = _cron.croniter(schedule._expression, timezone.make_naive(current, zone))  # noqa: SLF001 - pinned, listed above
    while found >= current:
        found = timezone.make_aware(cron.get_prev(datetime), zone)
    return timezone.convert_to_utc(found)


_cron.CronMixin._get_prev = _get_earlier  # noqa: SLF001 - pinned, listed above


@contextmanager
def clock(now: datetime) -> Iterator[None]:
    """Let Airflow's own timetables find this time when they ask what time it is."""
    kept = [module.utcnow for module in _CLOCKS]
    trigger.time = SimpleNamespace(time=now.timestamp)
    for module in _CLOCKS:
        module.utcnow = lambda: now
    try:
        yield
    finally:
        trigger.time = time
        for module, original in zip(_CLOCKS, kept, strict=True):
            module.utcnow = original


def encoded(timetable: Any) -> dict[str, Any]:
    """Write a timetable as JSON, as a serialized DAG has it."""
    found: dict[str, Any] = encode_timetable(timetable)
    return found


def decoded(timetable: dict[str, Any]) -> Any:
    """Make a timetable of what a serialized DAG says; a custom one is found through its plugin."""
    return decode_timetable(timetable)


def moment(text: str | None) -> Any:
    """Read an ISO 8601 time as Airflow keeps times."""
    return None if text is None else timezone.coerce_datetime(timezone.parse(text))


def restriction(earliest: Any, latest: Any, *, catchup: bool) -> Any:
    """Return what a timetable is asked with."""
    return TimeRestriction(earliest, latest, catchup)


def run_info(slot: dict[str, Any] | None) -> Any:
    """Return Airflow's word for a run there has been."""
    if slot is None:
        return None
    interval_ = None
    if slot["start"] is not None:
        interval_ = DataInterval(moment(slot["start"]), moment(slot["end"]))
    return DagRunInfo(
        run_after=moment(slot["run_after"]),
        data_interval=interval_,
        partition_date=moment(slot["partition_date"]),
        partition_key=slot["partition_key"],
    )


def slot_of(info: Any) -> dict[str, Any]:
    """Write Airflow's word for a run down: the inverse of ``run_info``."""
    interval_ = info.data_interval
    return {
        "run_after": utc(info.run_after),
        "start": utc(interval_.start) if interval_ else None,
        "end": utc(interval_.end) if interval_ else None,
        "partition_key": info.partition_key,
        "partition_date": utc(info.partition_date) if info.partition_date else None,
    }


def run_id(timetable: Any, info: Any, run_type: str) -> str:
    """Return the run id Airflow would give, whose random part, if it has one, is drawn here."""
    kind = DagRunType(run_type)
    info = run_info(slot_of(info))  # in UTC, as from Airflow's database
    if kind == DagRunType.BACKFILL_JOB and not timetable.partitioned:
        return str(
            DagRun.generate_run_id(
                run_type=kind,
                logical_date=info.logical_date,
                run_after=info.run_after,
            )
        )
    return str(
        timetable.generate_run_id(
            run_type=kind,
            run_after=info.run_after,
            data_interval=info.data_interval,
            partition_key=info.partition_key,
        )
    )


def utc(time: datetime) -> str:
    """Write a time as Airflow keeps it: in UTC."""
    return str(timezone.convert_to_utc(timezone.coerce_datetime(time)).isoformat())
