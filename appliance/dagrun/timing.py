"""Schedules and the runs that timetables want, as plain values.

Times are ISO 8601 text in UTC.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

RUN_TYPE = "scheduled"


@dataclass(frozen=True, slots=True)
class ScheduledRun:
    """One run that a timetable wants: Airflow's ``DagRunInfo``, with the run id Airflow gives it."""

    run_after: str
    run_id: str
    start: str | None = None
    """Of the data interval; also the logical date. None: a partition, which has neither."""
    end: str | None = None
    partition_key: str | None = None
    partition_date: str | None = None

    @property
    def at(self) -> float:
        """The earliest time the run may be made, in seconds since the epoch."""
        return datetime.fromisoformat(self.run_after).timestamp()


@dataclass(frozen=True, slots=True)
class ScheduleDeclaration:
    """A schedule as a DAG file or the configuration has it."""

    name: str
    """The DAG id, or the name in appliance.yaml."""
    dag_id: str
    timetable: dict[str, Any]
    """JSON as in Airflow's serialized DAG."""
    summary: str
    """The schedule for people, as in Airflow's UI."""
    source: str
    """The DAG file, or the place in appliance.yaml."""
    is_configured: bool = False
    """Whether it is from appliance.yaml."""
    earliest: str | None = None
    latest: str | None = None
    catchup: bool = False
    is_paused: bool = False
    """What it is as long as nobody has said otherwise."""
    max_active_runs: int = 16
    is_strict: bool = False
    """Whether no run may wait for its turn, as with ``@continuous``."""
    max_failures: int = 0
    """As many failed runs in a row pause it; 0: none do."""
    conf: dict[str, Any] = field(default_factory=dict)
    remark: str = ""
    """What of it people might expect in vain, and why."""
    is_barred: bool = False
    """Whether no run of the DAG can go well, for the reason ``remark`` gives, so that none is made."""

    @property
    def digest(self) -> str:
        """Tell declarations apart."""
        text = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
