"""Checks the input of a run's workflow; a check returns what is wrong, or None. Pure."""

from datetime import datetime, timedelta

from appliance.dagrun import ids
from appliance.temporal.input_checks import (
    MOST_NUMBER,
    Found,
    moment,
    of_anything,
    of_json,
)
from appliance.temporal.messages import DagExecutionInput

_MOST_AHEAD = timedelta(days=36_500)
"""Of a run that waits until it is due; a server counts a timer in nanoseconds of 64 bits."""


def of_run(request: DagExecutionInput, now: datetime, *, goes_on: bool) -> str | None:
    """Look at the input of a run; ``goes_on``: whether an earlier workflow run of its own has handed it over."""
    if request.carried is not None and not goes_on:
        return "carried: only a run that goes on in a fresh workflow run has it"
    return next((f"{key}: {why}" for key, why in _in_run(request, now)), None)


def _in_run(request: DagExecutionInput, now: datetime) -> Found:
    for key in ("dag_id", "run_id", "run_type"):
        text = getattr(request, key)
        if text is not None and (why := ids.objection(text)):
            yield key, f"{ids.shown(text)!r} is none: {why}"
    for key in ("logical_date", "run_after", *_INTERVAL):
        text = getattr(request, key)
        if text is not None and moment(text) is None:
            yield key, f"{ids.shown(text)!r} is no ISO 8601 time"
    for key in ("triggering_user", "dag_file", "lane", "partition_key", "sealed"):
        if why := of_anything(getattr(request, key)):
            yield key, why
    yield from _in_wishes(request, now)


def _in_wishes(request: DagExecutionInput, now: datetime) -> Found:
    due = moment(request.run_after or "")
    if due is not None and due - now > _MOST_AHEAD:
        yield "run_after", f"{request.run_after} is too far away"
    most = request.max_active_runs
    if most is not None and not 0 < most < MOST_NUMBER:
        yield "max_active_runs", f"{most} is no number of runs"
    if why := of_json(request.conf):
        yield "conf", why


_INTERVAL = ("data_interval_start", "data_interval_end")
