"""What a person asks of the runs on a server, and the answers: values the command line prints.

No vendor is imported here. The fields of ``RunReport`` are those of ``submit --wait -o json``: that object is
an interface people parse, so a field is only ever added. Times are ISO 8601 text with a zone.
"""

from dataclasses import dataclass, field
from typing import Any

from appliance.config.model import Secrets
from appliance.temporal.messages import TaskRow


@dataclass(frozen=True, slots=True)
class SubmitRequest:
    """What to run, as it was asked for."""

    dag_id: str
    dag_file: str | None = None
    """Relative to the DAG folder."""
    conf: dict[str, Any] = field(default_factory=dict)
    logical_date: str | None = None
    """None: now, if it has one at all."""
    is_dated: bool = True
    """Whether it has a logical date."""
    run_id: str | None = None
    """None: made in Airflow's form, ``manual__<ISO time>``."""
    secrets: Secrets | None = None
    """Connections and variables of this run alone."""
    run_type: str = "manual"
    run_after: str | None = None
    """It waits queued until then; None: it is due now."""
    triggering_user: str | None = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """A run that was started."""

    dag_id: str
    run_id: str
    workflow_id: str
    url: str
    """Its page in the bundled UI; empty when the server is somebody else's."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """One run: while it goes on (``state`` not final, ``end_date`` None) or after its end."""

    dag_id: str
    run_id: str
    workflow_id: str
    state: str
    start_date: str | None = None
    end_date: str | None = None
    duration_s: float | None = None
    url: str = ""
    tasks_succeeded: int = 0
    tasks_failed: int = 0
    tasks: tuple[TaskRow, ...] = ()
    """All of them."""


@dataclass(frozen=True, slots=True)
class RunRow:
    """One line of ``runs list``."""

    run_id: str
    run_type: str
    state: str
    logical_date: str | None
    start_date: str | None
    end_date: str | None
    workflow_id: str


@dataclass(frozen=True, slots=True)
class PartHealth:
    """Whether one part answered; ``why`` says what was seen when it did not."""

    ok: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Whether the server answers, a worker of ours polls it, and there is room for more runs."""

    server: PartHealth
    worker: PartHealth
    room: PartHealth | None = None
    """None when nobody looked."""
