"""A DAG run as a try sees it, made of rows; it remembers what it was asked."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from appliance.config.model import Secrets
from appliance.dagrun.tries import ActivityTaskInput, RunFacts, XComRow
from appliance.taskrun.runview import InstanceRow

NOON = "2026-01-02T12:00:00+00:00"

RUN = RunFacts(
    dag_id="shop",
    run_id="manual__1",
    run_type="manual",
    logical_date=NOON,
    data_interval_start=NOON,
    data_interval_end=NOON,
    run_after=NOON,
    start_date=NOON,
    file="shop.py",
    conf={"day": 1},
)


def a_try(**changes: Any) -> ActivityTaskInput:
    """Return the first try of ``shop.sum``, changed."""
    task = ActivityTaskInput(
        run=RUN,
        task_id="sum",
        map_index=-1,
        try_number=1,
        max_tries=0,
        ti_id="01234567-89ab-cdef-0123-456789abcdef",
    )
    return replace(task, **changes)


@dataclass
class FakeRun:
    """Rows of XComs and instances, and secrets of the run's own."""

    rows: list[XComRow] = field(default_factory=list)
    tasks: list[InstanceRow] = field(default_factory=list)
    own: Secrets | None = None
    asked: list[object] = field(default_factory=list)

    async def xcoms(
        self, task_ids: Sequence[str], *, key: str | None
    ) -> Sequence[XComRow]:
        """Return the rows of these tasks."""
        self.asked.append((tuple(task_ids), key))
        return [
            row
            for row in self.rows
            if row.task_id in task_ids and key in (None, row.key)
        ]

    async def instances(self, task_ids: Sequence[str] | None) -> Sequence[InstanceRow]:
        """Return the instances of these tasks."""
        self.asked.append(task_ids)
        return [row for row in self.tasks if not task_ids or row.task_id in task_ids]

    async def secrets(self) -> Secrets | None:
        """Return the run's own secrets."""
        self.asked.append("secrets")
        return self.own
