"""The question that asks what a run's tasks depend on in earlier runs, and the activity that answers it."""

from dataclasses import dataclass, field

from appliance.past.model import PastTask

AWAIT_PAST = "await_past"


@dataclass(frozen=True, slots=True)
class PastQuestion:
    """Asks which of these tasks may run as far as earlier runs of the DAG are concerned."""

    dag_id: str
    logical_date: str
    no_manual: bool
    """Whether runs started by hand do not count, as with catch-up."""
    tasks: list[PastTask] = field(default_factory=list)
