"""Messages of the scheduler: declarations, questions to timetables, runs to start. Fields are only ever added, with a default."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from appliance.dagrun.timing import RUN_TYPE, ScheduleDeclaration, ScheduledRun
from appliance.schedules.model import BATCH_SLOTS, NextRunQuestion

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
SCHEDULES_QUERY = "schedules"
DECLARED_QUERY = "declared"
Verb = Literal["pause", "resume", "trigger"]


@dataclass(frozen=True, slots=True)
class SchedulerState:
    """What the scheduler carries on; nothing at its first start."""

    packed: str = ""
    problems: list[str] = field(default_factory=list)
    by: str = ""
    """The worker that declared something last."""


@dataclass(frozen=True, slots=True)
class DeclareRequest:
    """Says what the files and the configuration have changed to."""

    changed: list[ScheduleDeclaration] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What of the files and the configuration cannot be scheduled."""
    by: str = ""
    """The worker that says so: its identity on the server."""


@dataclass(frozen=True, slots=True)
class KnownSchedule:
    """A schedule as it was declared last."""

    name: str
    source: str
    digest: str
    dag_id: str = ""
    is_configured: bool = False
    by: str = ""
    """The worker that told something last, of this schedule or another; empty when that is not known."""


@dataclass(frozen=True, slots=True)
class SteerRequest:
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
class SteerResult:
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
    last: ScheduledRun | None = None
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
    last: ScheduledRun | None = None
    limit: int = BATCH_SLOTS
    run_type: str = RUN_TYPE


@dataclass(frozen=True, slots=True)
class TimetableAnswer:
    """The slots, or why there are none."""

    slots: list[ScheduledRun] = field(default_factory=list)
    error: str | None = None
    is_asked: bool = True
    """False: others took so long that it was not asked; it is to be asked again."""


@dataclass(frozen=True, slots=True)
class RunOrder:
    """A run to start."""

    dag_id: str
    slot: ScheduledRun
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
class RunOutcome:
    """How a run that was looked for has ended."""

    run: RunName
    is_success: bool
    is_known: bool = True
    """False: its history is gone and nobody remembers how it ended."""


def due(question: NextRunQuestion, now: str) -> TimetableQuestion:
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


@dataclass(frozen=True, slots=True)
class BackfilledRuns:
    """Tells the scheduler which runs a backfill has made."""

    dag_id: str
    slots: list[ScheduledRun]
