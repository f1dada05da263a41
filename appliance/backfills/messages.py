"""Messages of backfills: requests, plans and progress. Fields are only ever added, with a default."""

from dataclasses import dataclass, field
from typing import Any, Literal

from appliance.dagrun.timing import ScheduledRun

BACKFILL_WORKFLOW = "AirflowBackfill"
TELL_SCHEDULER = "tell_scheduler"
CANCEL_QUEUED = "cancel_queued_runs"
BACKFILL_TYPE = "backfill"
"""Airflow's run type of a backfill's runs."""
PROGRESS_QUERY = "progress"
Reprocess = Literal["none", "failed", "completed"]


@dataclass(frozen=True, slots=True)
class BackfillRequest:
    """Asks for the runs of a period. Times are ISO 8601 text."""

    dag_id: str
    from_date: str
    to_date: str
    max_active_runs: int = 10
    is_backwards: bool = False
    reprocess: Reprocess = "none"
    """Which runs there have been are made again."""
    conf: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """One run of a backfill; ``reason`` set: it is not made, and why."""

    slot: ScheduledRun
    reason: str | None = None
    is_again: bool = False
    is_first: bool = False


@dataclass(frozen=True, slots=True)
class BackfillPlan:
    """What a backfill makes; ``refusal`` set: nothing, and why."""

    runs: list[PlannedRun] = field(default_factory=list)
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class BackfillState:
    """What a backfill carries on; nothing at its start."""

    packed: str = ""


@dataclass(frozen=True, slots=True)
class BackfillProgress:
    """How far a backfill is, in runs."""

    dag_id: str
    waiting: int
    running: int
    succeeded: int
    failed: int
    skipped: int
    """There had been a run already."""
    errors: list[str] = field(default_factory=list)
    """Why runs could not be started, each reason once with the first run it was told for."""


def planned_run(row: dict[str, Any]) -> PlannedRun:
    """Read what ``asdict`` wrote."""
    return PlannedRun(**{**row, "slot": ScheduledRun(**row["slot"])})
