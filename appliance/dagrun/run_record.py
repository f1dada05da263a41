"""What a run records of itself for others, and a query for such records. Pure."""

from dataclasses import dataclass
from typing import Any

from appliance.dagrun.states import RunState


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What one run lets others know of itself. Times are ISO 8601 text in UTC, so that they sort."""

    run_id: str
    workflow_id: str
    run_type: str
    run_after: str
    logical_date: str | None = None
    data_interval_start: str | None = None
    data_interval_end: str | None = None
    state: RunState = RunState.QUEUED
    start_date: str | None = None
    end_date: str | None = None
    triggering_user: str | None = None
    conf: dict[str, Any] | None = None
    """None when it is too large to be kept."""
    lane: str = ""
    """The backfill it belongs to; runs of different lanes do not count for each other."""
    is_due: bool = True
    """Whether ``run_after`` has come; the run says so."""
    execution: str = ""
    """Tells a run from the one that was started anew under the same id; empty when that is not known."""


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Asks for runs; what is None does not matter."""

    run_ids: tuple[str, ...] | None = None
    logical_dates: tuple[str, ...] | None = None
    states: tuple[str, ...] | None = None
    before: str | None = None
    """Only runs with an earlier logical date."""
    until: str | None = None
    """Only runs whose logical date (or, without one, the time they were due) is not later."""
    is_dated: bool = False
    """Only runs with a logical date."""
    no_manual: bool = False
    most: int | None = None
    """How many to answer with, newest first."""
    with_tasks: bool = False
