"""What crosses a process boundary between command line, workflow and worker, and the names people search for.

One dataclass a direction; fields are only ever added, with a default. Times are ISO 8601 text with a zone.
What one try is given and brings back is in ``appliance.dagrun.tries``.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from appliance.dagrun.past import PastTask
from appliance.dagrun.pool import Lease
from appliance.dagrun.roster import RunCard
from appliance.dagrun.tries import XComRow

WORKFLOW = "ExecuteAirflowDagWorkflow"
ASK_WORKFLOW = "AskApplianceWorker"
ACTIVITY = "run_airflow_task"
REATTACH_ACTIVITY = "reattach_airflow_task"
TRIGGER_ACTIVITY = "run_trigger"
READ_DAG = "read_dag"
FIND_HOLDERS = "find_holders"
LIST_DAGS = "list_dags"
RESOLVE_XCOMS = "resolve_xcoms"

DAG_WORKFLOW = "AirflowDag"
ENTER_UPDATE = "enter"
CLOSED_SIGNAL = "closed"
LOST_SIGNAL = "lost"
FIND_QUERY = "find"
STATE_QUERY = "state"
HOLDERS_QUERY = "holders"
ADMITTED_SIGNAL = "admitted"
ENTER_RUN = "enter_run"
CLOSE_RUN = "close_run"
REBUILD = "rebuild"
FIND_LOST_RUNS = "find_lost_runs"
KEEP_PLACE = "keep_place"
AWAIT_PAST = "await_past"

POOL_WORKFLOW = "AirflowPool"
WANT_UPDATE = "want"
GIVE_BACK_SIGNAL = "give_back"
LENT_SIGNAL = "slots_lent"
SCARCE_SIGNAL = "pools_scarce"
HELD_QUERY = "held"
WANTED_QUERY = "slots_wanted"
WANT_SLOTS = "want_slots"
REMIND_POOLS = "remind_pools"
GIVE_BACK_SLOTS = "give_back_slots"
FIND_LOST_LEASES = "find_lost_leases"

RUN_FAILED = "DagExecutionFailure"
"""Type of the error a failed run ends with; its details are the ``DagExecutionResult``."""
RUN_REFUSED = "DagRefused"
"""Type of the error a run ends with whose DAG cannot be run here."""
UNVOUCHED = "UnvouchedPlan"
"""Type of the error of a run that announces itself with a plan no worker of the box has read."""
TRY_FAILED = "AirflowTaskFailed"
"""Type of the error a failed try ends with; its details are the ``TaskExecutionResult``."""
TRY_LOST = "AirflowTaskLost"
"""Type of the error of a try that vanished with its worker."""
TRY_STOPPED = "AirflowTaskStopped"
"""Type of the error of a try that had begun when its run wanted no more of it."""

TRY_RESCHEDULED = "AirflowTaskRescheduled"
"""Type of the error of a poke after which the sensor is to be poked again: the next attempt of the activity."""
FIRST_POKE = 2
"""The attempt that is the first poke: the one before only waits for its moment."""
TRIGGER_LOST = "AirflowTriggerLost"
"""Type of the error of a wait whose worker ended: it is begun again, the next attempt of the activity."""

INPUT_REFUSED = "InputRefused"
"""Type of the error of whatever was given what nobody of ours gives."""

TRY_NOT_BEGUN = "AirflowTaskNotBegun"
"""Type of the error of a try that waited for a slot when its worker ended; it is as if it never was."""

STATES_QUERY = "task_states"
XCOMS_QUERY = "xcoms"
FACTS_QUERY = "run_facts"


RESPOND_UPDATE = "respond"
RESPONSE_REFUSED = "ResponseRefused"
"""Type of the error of an answer that nobody asked for, or that is none."""


def trigger_queue(task_queue: str) -> str:
    """Name the task queue of waits for triggers."""
    return f"{task_queue}-triggers"


def utc(time: str) -> str:
    """Write an ISO 8601 time in UTC, as Airflow keeps it; without a zone it is in UTC already.

    Raises:
        ValueError: it is no time.
    """
    parsed = datetime.fromisoformat(time)
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    try:
        return parsed.astimezone(UTC).isoformat()
    except OverflowError as err:
        raise ValueError(f"in UTC {time} is beyond the years 1 to 9999") from err


@dataclass(frozen=True, slots=True)
class DagExecutionInput:
    """Input of ``ExecuteAirflowDagWorkflow``; ``{"dag_id": "my_dag"}`` is enough."""

    dag_id: str
    run_id: str | None = None
    logical_date: str | None = None
    conf: dict[str, Any] = field(default_factory=dict)
    run_type: str = "manual"
    run_after: str | None = None
    """It waits queued until then; None: it is due as it starts."""
    triggering_user: str | None = None
    dag_file: str | None = None
    """Read the DAG from this file (relative to the DAG folder) instead of looking its id up."""
    sealed: str | None = None
    """Connections and variables of this run alone, encrypted; opened only in a worker."""
    lane: str = ""
    """The backfill it belongs to, which limits its own runs; empty for every other run."""
    max_active_runs: int | None = None
    """How many runs of its lane may run at once; None: what its DAG says."""
    ignores_past: bool = False
    """Whether ``depends_on_past`` is met whatever has been, as for the first run of a backfill."""
    data_interval_start: str | None = None
    """With its end: what the timetable says of a run it asked for; otherwise it is asked for the logical date."""
    data_interval_end: str | None = None
    partition_key: str | None = None
    """Of a run for a partition, which has no logical date."""
    is_dated: bool = True
    """Whether it has a logical date: the one given, or when it starts."""
    dag: "DagAnswer | None" = None
    """What a worker read of the DAG before the run was started; read as the first step when absent."""
    token: str = ""
    """Of who asked for the run: asked again with the same one, it is this run."""
    carried: str | None = None
    """Where the run stands, when it goes on from an earlier workflow run whose history had grown long."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a try is: with a worker, or waiting for its next attempt."""

    queue: str = ""
    """The worker's own task queue."""
    again_at: str | None = None
    attempt: int = 1
    """The one that is under way, or the next one."""


@dataclass(frozen=True, slots=True)
class DagQuestion:
    """Asks a worker to read a DAG and to check that it can be run with these values."""

    dag_id: str
    dag_file: str | None = None
    conf: dict[str, Any] = field(default_factory=dict)
    run_id: str | None = None
    logical_date: str | None = None
    run_type: str = "manual"
    run_after: str | None = None


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """One pool as the configuration has it."""

    slots: int
    include_deferred: bool = False


@dataclass(frozen=True, slots=True)
class DagAnswer:
    """What a worker read. ``refusal`` set means: do not run it, and this text says why."""

    refusal: str | None = None
    dag_id: str = ""
    file: str = ""
    """Relative to the DAG folder."""
    file_hash: str = ""
    plan: dict[str, Any] = field(default_factory=dict)
    """``appliance.dagrun.plan.Plan`` as JSON."""
    data_interval_start: str | None = None
    data_interval_end: str | None = None
    retry_lost: bool = True
    """``worker.on_lost`` of the worker that answered."""
    max_lost: int = 3
    pools: dict[str, PoolFacts] = field(default_factory=dict)
    """Pools of its tasks that are asked for slots; ``default_pool`` is not while it has one for everything."""
    has_search_attributes: bool = False
    """Whether the namespace knows ``AirflowDagId`` and its siblings."""
    voucher: str | None = None
    """By which workers of the box know again what one of them has read for a run."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a run was started with is said to have been read by a worker."""

    digest: str
    voucher: str | None


@dataclass(frozen=True, slots=True)
class RunSecretsAndConf:
    """What a run was started with that is not repeated in every try (query ``run_facts``)."""

    conf: dict[str, Any] = field(default_factory=dict)
    sealed: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A run announces itself to its DAG."""

    dag_id: str
    card: RunCard
    limit: int
    claim: Claim | None = None
    """To be looked at before the run is announced."""


@dataclass(frozen=True, slots=True)
class Closing:
    """A run tells its DAG how it ended; ``tasks`` are its task instances, packed."""

    dag_id: str
    card: RunCard
    rows: list["TaskRow"] = field(default_factory=list)
    """What ``tasks`` is packed from; it never enters a history."""
    tasks: str = ""


@dataclass(frozen=True, slots=True)
class Wish:
    """A task instance wants slots of a pool, which has so many."""

    pool: str
    lease: Lease
    capacity: int
    is_in_force: bool = False
    """Whether that is so now; otherwise it was when the run began."""
    has_begun: bool = False
    """Whether the instance runs already, so that it has its slots, be there any or not."""


@dataclass(frozen=True, slots=True)
class GivingBack:
    """Leases of one pool end; all of a run when ``workflow_id`` is set."""

    pool: str
    lease_ids: list[str] = field(default_factory=list)
    workflow_id: str | None = None


@dataclass(frozen=True, slots=True)
class PoolState:
    """What a pool's workflow carries on; ``packed`` None: it is new, and looks around first."""

    pool: str
    packed: str | None = None


@dataclass(frozen=True, slots=True)
class LostRun:
    """A run that ended without a word."""

    run_id: str
    execution: str = ""


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run that was asked for; ``tasks`` when they were and it has ended."""

    card: RunCard
    tasks: str = ""


@dataclass(frozen=True, slots=True)
class DagState:
    """What a DAG's workflow carries on; ``packed`` None: it is new, and looks around first."""

    dag_id: str
    packed: str | None = None


@dataclass(frozen=True, slots=True)
class PastQuestion:
    """Asks which of these tasks may run as far as earlier runs of the DAG are concerned."""

    dag_id: str
    logical_date: str
    no_manual: bool
    """Whether runs started by hand do not count, as with catch-up."""
    tasks: list[PastTask] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class XComQuestion:
    """Asks a run for XComs (query ``xcoms``): of these tasks, all map indexes; ``key`` None: every key."""

    task_ids: tuple[str, ...] | None = None
    key: str | None = None
    start: int = 0
    """How many rows to leave out."""
    limit: int | None = None
    """How many rows to answer with at most."""


@dataclass(frozen=True, slots=True)
class ResolveQuestion:
    """Asks a worker what XComs stand for, a slice of the answer at a time."""

    rows: list[XComRow]
    start: int = 0
    """How many characters to leave out."""


@dataclass(frozen=True, slots=True)
class ResolveAnswer:
    """A slice of the resolved rows as JSON in ASCII."""

    text: str
    length: int
    """Characters of the whole."""


@dataclass(frozen=True, slots=True)
class AskInput:
    """Input of ``AskApplianceWorker``: the activity that answers, and what it is asked."""

    activity: str
    question: Any = None
    timeout_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Response:
    """A person's answer to what a task asks: input of the update ``respond``."""

    task_id: str
    chosen_options: tuple[str, ...]
    map_index: int = -1
    params_input: dict[str, Any] = field(default_factory=dict)
    user_id: str = "unknown"
    user_name: str | None = None


@dataclass(frozen=True, slots=True)
class TaskRow:
    """The state of one task instance as people see it."""

    task_id: str
    map_index: int
    state: str | None
    try_number: int
    start_date: str | None = None
    end_date: str | None = None
    rendered_map_index: str | None = None


@dataclass(frozen=True, slots=True)
class DagExecutionResult:
    """How a run ended: the workflow's result, or the details of its ``DagExecutionFailure``."""

    state: str
    dag_id: str
    run_id: str
    start_date: str
    end_date: str
    tasks_succeeded: int
    tasks_failed: int
    tasks: tuple[TaskRow, ...] = ()
    """At most 100 rows, failed first."""
    tasks_total: int = 0
    finale: str = ""
    """All task instances and XComs, as ``workflows.finale`` writes them; empty: too large, or an earlier version's."""
