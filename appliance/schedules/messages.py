"""Messages of the scheduler: declarations, questions to timetables, runs to start. Fields are only added, with a default."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from appliance.dagrun.timing import RUN_TYPE, ScheduleDeclaration, ScheduledRun
from appliance.schedules.model import BATCH_RUNS, NextRunQuestion

SCHEDULER_WORKFLOW = "AirflowScheduler"
ACTION_WORKFLOW = "AirflowScheduleAction"
START_RUNS = "start_runs"
FIND_ENDED_RUNS = "find_ended_runs"
ACT = "act_on_schedule"
DECLARE_UPDATE = "declare"
STEER_UPDATE = "steer"
COVERED_SIGNAL = "covered"
CARRY_SIGNAL = "carry"
RING_SIGNAL = "ring"
"""This and ``carry`` are of version 0.1, whose Temporal Schedules had times; kept so that its histories replay."""
SCHEDULES_QUERY = "schedules"
DECLARED_QUERY = "declared"
Verb = Literal["pause", "resume", "trigger"]


@dataclass(frozen=True, slots=True)
class SchedulerState:
    """Input of the scheduler: its state, as the last run of it passed on; empty at its first start."""

    packed: str = ""
    problems: list[str] = field(default_factory=list)
    by: str = ""
    """The identity of the worker that declared something last."""


@dataclass(frozen=True, slots=True)
class DeclareRequest:
    """Declares schedules: what changed in the DAG files and the configuration."""

    changed: list[ScheduleDeclaration] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """Why some of the files and of the configuration cannot be scheduled."""
    by: str = ""
    """The identity of the worker that sends it."""


@dataclass(frozen=True, slots=True)
class KnownSchedule:
    """A schedule as it was declared last, by its digest."""

    name: str
    source: str
    digest: str
    dag_id: str = ""
    is_configured: bool = False
    by: str = ""
    """The identity of the worker that declared something last, this schedule or another; empty: unknown."""


@dataclass(frozen=True, slots=True)
class SteerRequest:
    """Asks to pause, resume or trigger schedules."""

    verb: Verb
    names: list[str]
    conf: dict[str, Any] | None = None
    """For ``trigger``: instead of the schedule's own."""
    at: str | None = None
    """For ``trigger``: when it was triggered; the same time makes one run, however often it is sent."""


@dataclass(frozen=True, slots=True)
class ScheduleAction:
    """Input of the workflow that a Temporal Schedule starts."""

    name: str
    is_paused: bool = False
    """The state that the scheduler and the Temporal Schedule last agreed on."""
    timetable: dict[str, Any] | None = None
    """Set by version 0.1 only: the timetable whose times the Temporal Schedule had."""
    times: str = ""
    """Set by version 0.1 only: the digest of the times it compared. Read by nothing."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """One start of its workflow by a Temporal Schedule: for which time, and when it started. ISO 8601 text."""

    action: ScheduleAction
    at: str
    started: str


@dataclass(frozen=True, slots=True)
class SteerResult:
    """Answer to a ``SteerRequest``: for ``trigger`` name -> run id, and what could not be done."""

    runs: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """One schedule as ``appliance schedules`` shows it. Times are ISO 8601 text in UTC."""

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
    last: ScheduledRun | None = None
    is_barred: bool = False
    """Whether no run is made, for the reason in ``note``."""


@dataclass(frozen=True, slots=True)
class ScheduleList:
    """All schedules, or those asked for, and why others could not be scheduled."""

    rows: list[ScheduleRow]
    problems: list[str] = field(default_factory=list)
    is_ready: bool = True
    """False while there is no scheduler, or it has not taken over the state of the last one."""


@dataclass(frozen=True, slots=True)
class TimetableQuestion:
    """One question for ``appliance.dagfile.timetables``, which says what the fields mean."""

    ask: Literal["due", "between", "coming"]
    timetable: dict[str, Any]
    now: str
    earliest: str | None = None
    latest: str | None = None
    catchup: bool = False
    last: ScheduledRun | None = None
    limit: int = BATCH_RUNS
    run_type: str = RUN_TYPE


@dataclass(frozen=True, slots=True)
class TimetableAnswer:
    """The runs that a timetable wants, or why it failed."""

    slots: list[ScheduledRun] = field(default_factory=list)
    error: str | None = None
    is_asked: bool = True
    """False: other timetables took all the time there was, so ask again."""


@dataclass(frozen=True, slots=True)
class RunOrder:
    """A run to start."""

    dag_id: str
    slot: ScheduledRun
    run_type: str = RUN_TYPE
    conf: dict[str, Any] | None = field(default_factory=dict)
    """None: the conf of the first order of the same list, as it may be large."""
    lane: str = ""
    max_active_runs: int | None = None
    ignores_past: bool = False
    is_again: bool = False
    """Whether it replaces an ended run of the same id."""
    dag_file: str | None = None


@dataclass(frozen=True, slots=True)
class RunName:
    """A run by its names."""

    dag_id: str
    run_id: str


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended."""

    run: RunName
    is_success: bool
    is_known: bool = True
    """False: its history is deleted and its DAG no longer remembers it."""


def due(question: NextRunQuestion, now: str) -> TimetableQuestion:
    """Return the question about due runs as a message."""
    declaration = question.declaration
    return TimetableQuestion(
        ask="due",
        timetable=declaration.timetable,
        now=now,
        earliest=declaration.earliest,
        latest=declaration.latest,
        catchup=declaration.catchup,
        last=question.last,
    )


def as_json(question: TimetableQuestion) -> dict[str, Any]:
    """Return a question as JSON, as the child process reads it."""
    return asdict(question)


@dataclass(frozen=True, slots=True)
class BackfilledRuns:
    """Reports to the scheduler which runs a backfill made."""

    dag_id: str
    slots: list[ScheduledRun]
