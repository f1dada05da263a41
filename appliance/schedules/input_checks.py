"""Checks what the scheduler workflow is sent; a check returns what is wrong, or None. Pure."""

from collections.abc import Sequence

from appliance.dagrun import ids
from appliance.dagrun.timing import ScheduleDeclaration, ScheduledRun
from appliance.schedules.messages import SteerRequest
from appliance.temporal.input_checks import moment


def of_slots(slots: Sequence[ScheduledRun]) -> str | None:
    """Look at runs that timetables have."""
    for slot in slots:
        times = (slot.run_after, slot.start, slot.end, slot.partition_date)
        if any(time is not None and moment(time) is None for time in times):
            return f"{ids.shown(slot.run_id)}: no ISO 8601 time"
    return None


def of_declarations(told: Sequence[ScheduleDeclaration]) -> str | None:
    """Look at schedules."""
    for one in told:
        times = (one.earliest, one.latest)
        if any(time is not None and moment(time) is None for time in times):
            return f"{ids.shown(one.name)}: no ISO 8601 time"
        if not one.name or not one.dag_id:
            return "a schedule without a name"
    return None


def of_steering(wanted: SteerRequest) -> str | None:
    """Look at what a person wants of schedules."""
    if wanted.verb not in ("pause", "resume", "trigger"):
        return f"{ids.shown(wanted.verb)!r} is nothing to do with a schedule"
    if wanted.at is not None and moment(wanted.at) is None:
        return f"{ids.shown(wanted.at)!r} is no ISO 8601 time"
    return None
