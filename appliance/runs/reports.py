"""Reports about runs that commands print.

No vendor is imported here. The fields of ``RunReport`` are those of ``submit --wait -o json``: that object is
an interface people parse, so a field is only ever added. Times are ISO 8601 text with a zone.
"""

from dataclasses import dataclass

from appliance.temporal.messages import TaskRow


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
