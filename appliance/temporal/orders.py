"""What the scheduler and backfills are told, ask and answer. Fields are only ever added, with a default."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from appliance.dagrun.agenda import BATCH_SLOTS, Question
from appliance.dagrun.slots import RUN_TYPE, Declaration, Slot

SCHEDULER_WORKFLOW = "AirflowScheduler"
BACKFILL_WORKFLOW = "AirflowBackfill"
ACTION_WORKFLOW = "AirflowScheduleAction"

ASK_TIMETABLES = "ask_timetables"
START_RUNS = "start_runs"
FIND_ENDED_RUNS = "find_ended_runs"
PLAN_BACKFILL = "plan_backfill"
TELL_SCHEDULER = "tell_scheduler"
CANCEL_QUEUED = "cancel_queued_runs"
ACT = "act_on_schedule"

BACKFILL_TYPE = "backfill"
"""Airflow's run type of a backfill's runs."""

DECLARE_UPDATE = "declare"
STEER_UPDATE = "steer"
COVERED_SIGNAL = "covered"
CARRY_SIGNAL = "carry"
RING_SIGNAL = "ring"
SCHEDULES_QUERY = "schedules"
DECLARED_QUERY = "declared"
PROGRESS_QUERY = "progress"

Verb = Literal["pause", "resume", "trigger"]


@dataclass(frozen=True, slots=True)
class SchedulerState:
    """What the scheduler carries on; nothing at its first start."""

    packed: str = ""
    problems: list[str] = field(default_factory=list)
    by: str = ""
    """The worker that declared something last."""


@dataclass(frozen=True, slots=True)
class Declare:
    """Says what the files and the configuration have changed to."""

    changed: list[Declaration] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What of the files and the configuration cannot be scheduled."""
    by: str = ""
    """The worker that says so: its identity on the server."""


@dataclass(frozen=True, slots=True)
class Known:
    """A schedule as it was declared last."""

    name: str
    source: str
    digest: str
    dag_id: str = ""
    is_configured: bool = False
    by: str = ""
    """The worker that told something last, of this schedule or another; empty when that is not known."""


@dataclass(frozen=True, slots=True)
class Steer:
    """What a person wants of some schedules."""

    verb: Verb
    names: list[str]
    conf: dict[str, Any] | None = None
    """For ``trigger``: instead of the schedule's own."""
    at: str | None = None
    """For ``trigger``: when that was, for whoever may ask twice."""


@dataclass(frozen=True, slots=True)
class ScheduleAction:
    """What a Temporal Schedule starts its workflow with."""

    name: str
    is_paused: bool = False
    """What the scheduler and the Temporal Schedule last agreed on."""
    timetable: dict[str, Any] | None = None
    """Whose times Temporal was told, JSON as in Airflow's serialized DAG; None: it was told none."""
    times: str = ""
    """What was compared to know that; empty: nothing could be."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """The time a Temporal Schedule started its workflow for, its own or a person's, and when that was."""

    action: ScheduleAction
    at: str
    started: str


@dataclass(frozen=True, slots=True)
class Steered:
    """What became of it: run ids by name for ``trigger``, and what could not be done."""

    runs: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """One schedule as people see it. Times are ISO 8601 text in UTC."""

    name: str
    dag_id: str
    schedule: str
    state: str
    """active or paused."""
    next_run: str | None
    last_run: str | None
    """Logical date of the latest run, or when it was due if it has none."""
    source: str
    note: str | None = None
    catchup: bool = False
    start_date: str | None = None
    end_date: str | None = None
    timetable: dict[str, Any] = field(default_factory=dict)
    conf: dict[str, Any] = field(default_factory=dict)
    last: Slot | None = None
    is_barred: bool = False
    """Whether no run is made, for the reason ``note`` gives."""


@dataclass(frozen=True, slots=True)
class ScheduleList:
    """All schedules, or those asked for, and what could not be scheduled."""

    rows: list[ScheduleRow]
    problems: list[str] = field(default_factory=list)
    is_ready: bool = True
    """Whether there is a scheduler, and it knows."""


@dataclass(frozen=True, slots=True)
class TimetableQuestion:
    """One question for ``appliance.dagfile.timetables``."""

    ask: str
    timetable: dict[str, Any]
    now: str
    earliest: str | None = None
    latest: str | None = None
    catchup: bool = False
    last: Slot | None = None
    limit: int = BATCH_SLOTS
    run_type: str = RUN_TYPE


@dataclass(frozen=True, slots=True)
class TimetableAnswer:
    """The slots, or why there are none."""

    slots: list[Slot] = field(default_factory=list)
    error: str | None = None
    is_asked: bool = True
    """False: others took so long that it was not asked; it is to be asked again."""


@dataclass(frozen=True, slots=True)
class RunOrder:
    """A run to start."""

    dag_id: str
    slot: Slot
    run_type: str = RUN_TYPE
    conf: dict[str, Any] | None = field(default_factory=dict)
    """None: that of the first run it is sent along with, which may be large."""
    lane: str = ""
    max_active_runs: int | None = None
    ignores_past: bool = False
    is_again: bool = False
    """Whether there is a run of this id, which has ended."""
    dag_file: str | None = None


@dataclass(frozen=True, slots=True)
class RunName:
    """A run by its names."""

    dag_id: str
    run_id: str


@dataclass(frozen=True, slots=True)
class Sighting:
    """How a run that was looked for has ended."""

    run: RunName
    is_success: bool
    is_known: bool = True
    """False: its history is gone and nobody remembers how it ended."""


def due(question: Question, now: str) -> TimetableQuestion:
    """Write down what the agenda asks."""
    told = question.declaration
    return TimetableQuestion(
        ask="due",
        timetable=told.timetable,
        now=now,
        earliest=told.earliest,
        latest=told.latest,
        catchup=told.catchup,
        last=question.last,
    )


def as_json(question: TimetableQuestion) -> dict[str, Any]:
    """Write a question as a child reads it."""
    return asdict(question)


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

    slot: Slot
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


@dataclass(frozen=True, slots=True)
class Covered:
    """Tells the scheduler which runs a backfill has made."""

    dag_id: str
    slots: list[Slot]


def planned_run(row: dict[str, Any]) -> PlannedRun:
    """Read what ``asdict`` wrote."""
    return PlannedRun(**{**row, "slot": Slot(**row["slot"])})
