"""Messages that every feature knows: the input of a run, what a worker read of its DAG, types of errors.

One dataclass a direction; fields are only ever added, with a default. Times are ISO 8601 text with a zone.
What one try is given and brings back is in ``appliance.dagrun.attempt``.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

WORKFLOW = "ExecuteAirflowDagWorkflow"

STATE_QUERY = "state"
REBUILD = "rebuild"


RUN_FAILED = "DagExecutionFailure"
"""Type of the error a failed run ends with; its details are the ``DagExecutionResult``."""
RUN_REFUSED = "DagRefused"
"""Type of the error a run ends with whose DAG cannot be run here."""
TRY_FAILED = "AirflowTaskFailed"
"""Type of the error a failed try ends with; its details are the ``TaskExecutionResult``."""
TRY_LOST = "AirflowTaskLost"
"""Type of the error of a try that vanished with its worker."""
TRY_STOPPED = "AirflowTaskStopped"
"""Type of the error of a try that had begun when its run wanted no more of it."""


INPUT_REFUSED = "InputRefused"
"""Type of the error of whatever was given what nobody of ours gives."""


STATES_QUERY = "task_states"


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
class PlanClaim:
    """What a run was started with is said to have been read by a worker."""

    digest: str
    voucher: str | None


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
