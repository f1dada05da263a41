"""Checks what the scheduler workflow is sent; a check returns what is wrong, or None. Pure."""

from collections.abc import Sequence

from appliance.dagrun import ids
from appliance.dagrun.timing import ScheduleDeclaration, ScheduledRun
from appliance.schedules.messages import SteerRequest
from appliance.temporal.input_checks import moment


def of_slots(slots: Sequence[ScheduledRun]) -> str | None:
    """Check runs that timetables want."""
    for slot in slots:
        times = (slot.run_after, slot.start, slot.end, slot.partition_date)
        if any(time is not None and moment(time) is None for time in times):
            return f"{ids.shown(slot.run_id)}: no ISO 8601 time"
    return None


def of_declarations(declarations: Sequence[ScheduleDeclaration]) -> str | None:
    """Check declarations of schedules."""
    for declaration in declarations:
        times = (declaration.earliest, declaration.latest)
        if any(time is not None and moment(time) is None for time in times):
            return f"{ids.shown(declaration.name)}: no ISO 8601 time"
        if not declaration.name or not declaration.dag_id:
            return "a schedule without a name"
    return None


def of_steering(request: SteerRequest) -> str | None:
    """Check a request to pause, resume or trigger schedules."""
    if request.verb not in ("pause", "resume", "trigger"):
        return f"{ids.shown(request.verb)!r} is nothing to do with a schedule"
    if request.at is not None and moment(request.at) is None:
        return f"{ids.shown(request.at)!r} is no ISO 8601 time"
    return None
