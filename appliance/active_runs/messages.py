"""Messages between runs and the workflow of their DAG, and the names of its signals, updates, queries and activities."""

from dataclasses import dataclass, field

from appliance.dagrun.run_record import RunRecord
from appliance.temporal.messages import PlanClaim, TaskRow

DAG_WORKFLOW = "AirflowDag"
ENTER_UPDATE = "enter"
CLOSED_SIGNAL = "closed"
LOST_SIGNAL = "lost"
FIND_QUERY = "find"
HOLDERS_QUERY = "holders"
ADMITTED_SIGNAL = "admitted"
ENTER_RUN = "enter_run"
CLOSE_RUN = "close_run"
FIND_LOST_RUNS = "find_lost_runs"
KEEP_PLACE = "keep_place"
UNSIGNED_PLAN = "UnvouchedPlan"
"""Type of the error of a run that announces itself with a plan no worker of the box has read."""


@dataclass(frozen=True, slots=True)
class RunAnnouncement:
    """A run announces itself to its DAG."""

    dag_id: str
    card: RunRecord
    limit: int
    claim: PlanClaim | None = None
    """To be looked at before the run is announced."""


@dataclass(frozen=True, slots=True)
class RunEnd:
    """A run tells its DAG how it ended; ``tasks`` are its task instances, packed."""

    dag_id: str
    card: RunRecord
    rows: list["TaskRow"] = field(default_factory=list)
    """What ``tasks`` is packed from; it never enters a history."""
    tasks: str = ""


@dataclass(frozen=True, slots=True)
class LostRun:
    """A run that ended without a word."""

    run_id: str
    execution: str = ""


@dataclass(frozen=True, slots=True)
class FoundRun:
    """A run that was asked for; ``tasks`` when they were and it has ended."""

    card: RunRecord
    tasks: str = ""


@dataclass(frozen=True, slots=True)
class ActiveRunsState:
    """What a DAG's workflow carries on; ``packed`` None: it is new, and looks around first."""

    dag_id: str
    packed: str | None = None
