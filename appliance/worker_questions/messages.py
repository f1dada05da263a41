"""The input of the workflow that asks a worker a question, and the activities it may ask."""

from dataclasses import dataclass
from typing import Any

ASK_WORKFLOW = "AskApplianceWorker"
READ_DAG = "read_dag"
LIST_DAGS = "list_dags"
RESOLVE_XCOMS = "resolve_xcoms"


@dataclass(frozen=True, slots=True)
class AskInput:
    """Input of ``AskApplianceWorker``: the activity that answers, and what it is asked."""

    activity: str
    question: Any = None
    timeout_s: float = 300.0


ASK_TIMETABLES = "ask_timetables"
PLAN_BACKFILL = "plan_backfill"
