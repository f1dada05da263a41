"""Messages of one run: what its activities, queries and updates take and return, and their names."""

from dataclasses import dataclass, field
from typing import Any

from appliance.dagrun.attempt import XComRow
from appliance.temporal.messages import TaskRow

ACTIVITY = "run_airflow_task"
REATTACH_ACTIVITY = "reattach_airflow_task"
TRIGGER_ACTIVITY = "run_trigger"
FIND_HOLDERS = "find_holders"
TRY_RESCHEDULED = "AirflowTaskRescheduled"
"""Type of the error of a poke after which the sensor is to be poked again: the next attempt of the activity."""
FIRST_POKE = 2
"""The attempt that is the first poke: the one before only waits for its moment."""
TRIGGER_LOST = "AirflowTriggerLost"
"""Type of the error of a wait whose worker ended: it is begun again, the next attempt of the activity."""
TRY_NOT_BEGUN = "AirflowTaskNotBegun"
"""Type of the error of a try that waited for a slot when its worker ended; it is as if it never was."""
XCOMS_QUERY = "xcoms"
RESULT_MEMO = "result"
"""Of a cancelled run: its ``DagExecutionResult``, which a workflow that ends as cancelled cannot return."""
FACTS_QUERY = "run_facts"
RESPOND_UPDATE = "respond"
RESPONSE_REFUSED = "ResponseRefused"
"""Type of the error of an answer that nobody asked for, or that is none."""


@dataclass(frozen=True, slots=True)
class TryLocation:
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
class RunSecretsAndConf:
    """What a run was started with that is not repeated in every try (query ``run_facts``)."""

    conf: dict[str, Any] = field(default_factory=dict)
    sealed: str | None = None


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
class Response:
    """A person's answer to what a task asks: input of the update ``respond``."""

    task_id: str
    chosen_options: tuple[str, ...]
    map_index: int = -1
    params_input: dict[str, Any] = field(default_factory=dict)
    user_id: str = "unknown"
    user_name: str | None = None


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
