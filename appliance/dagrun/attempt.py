"""Input and result of one try of a task, as both cross the wire.

One tagged dataclass a direction, never a union: Temporal's JSON converter takes the first union member that
parses. Durations are ``_s`` floats, times ISO 8601 text with a zone.
"""

from dataclasses import dataclass
from typing import Any

from appliance.dagrun.deferral import Deferral, Resumption, Trigger
from appliance.dagrun.states import TaskState


@dataclass(frozen=True, slots=True)
class XComRow:
    """One XCom of the run. ``value`` is JSON as Airflow's serde made it, or a reference its backend understands."""

    task_id: str
    map_index: int
    key: str
    value: Any = None


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What every try of a run is told about it; the ``dag_run`` of a task's context."""

    dag_id: str
    run_id: str
    run_type: str
    logical_date: str | None
    data_interval_start: str | None
    data_interval_end: str | None
    run_after: str
    start_date: str
    file: str
    """The DAG file, relative to the DAG folder."""
    conf: dict[str, Any] | None = None
    """None when it is too large to repeat in every try; a worker asks the run once and keeps it."""
    is_sealed: bool = False
    """Whether the run was given connections or variables of its own; a worker asks the run for them."""
    triggering_user: str | None = None
    workflow_id: str = ""
    """Whom to ask about the run."""
    partition_key: str | None = None


@dataclass(frozen=True, slots=True)
class Callback:
    """What is called instead of a task: callbacks of a DAG whose run has ended, or of a try its trigger has ended; or listeners."""

    is_failure: bool
    reason: str
    """Airflow's: success, task_failure, all_tasks_deadlocked, timed_out; of a try its state."""
    end_date: str
    is_of_try: bool = False
    run_state: str = ""
    """Set when the listeners of plugins are called, for a run that has just come into this state."""

    @property
    def name(self) -> str:
        """The argument of the DAG, or of the task, that holds them; or the hook."""
        if self.run_state:
            return f"on_dag_run_{self.run_state}"
        if self.is_of_try and self.reason == TaskState.UP_FOR_RETRY:
            return "on_retry_callback"
        return "on_failure_callback" if self.is_failure else "on_success_callback"


@dataclass(frozen=True, slots=True)
class ActivityTaskInput:
    """Input of the activity ``run_airflow_task``: one try."""

    run: RunFacts
    task_id: str
    map_index: int
    try_number: int
    max_tries: int
    ti_id: str
    """UUID of this try."""
    xcoms: tuple[XComRow, ...] = ()
    """XComs this try may well name (direct upstreams), as far as a byte budget allows."""
    complete: tuple[str, ...] = ()
    """Task ids all of whose XComs (every key, every map index) are in ``xcoms``, so nobody need ask the run."""
    own_keys: tuple[str, ...] = ()
    """Keys of XComs an earlier try or poke of this task instance left; the try deletes them first."""
    xcom_budget_bytes: int = 262144
    """Bytes of XCom this try may still put into the run's history; above it they go to the object store."""
    reschedules: int = 0
    first_start: str | None = None
    """Start of the first poke of this try; a sensor's timeout counts from here."""
    callback: Callback | None = None
    """Call this instead; the task named is then the one the callbacks are told of, an empty id for none."""
    resume: Resumption | None = None
    """Set when the try goes on after it was parked."""
    trigger: Trigger | None = None
    """Set for the wait of a parked try, which is the activity ``run_trigger``."""
    poke_at: str | None = None
    """A sensor that is poked over and over, not before this time: each further reschedule is a retry of the activity."""
    is_exempt: bool | None = None
    """Whether it has asked for no slot of its pool; a worker that knows the pool may run out sends it back."""


@dataclass(frozen=True, slots=True)
class TaskExecutionResult:
    """How one try ended: the result of ``run_airflow_task``, or the details of its failure."""

    state: TaskState
    start_date: str
    end_date: str
    xcoms: tuple[XComRow, ...] = ()
    """Pushed in this try, the last value a key; deletions are applied first."""
    deleted: tuple[XComRow, ...] = ()
    """Deleted in this try and not pushed again (``value`` unused)."""
    return_length: int | None = None
    retry_delay_s: float | None = None
    reschedule_at: str | None = None
    deferral: Deferral | None = None
    """What it waits for, when it was parked."""
    skipped: tuple[tuple[str, int], ...] = ()
    rendered_map_index: str | None = None
    error: str | None = None
    """What went wrong, in a line: ``ValueError: no rows``."""
    log: str | None = None
    """The try's log file, relative to the data folder."""
