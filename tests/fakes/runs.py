"""A DAG run as a try sees it, made of rows; it remembers what it was asked."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from appliance.active_runs.model import ActiveRuns
from appliance.config.model import Secrets
from appliance.dagrun.attempt import ActivityTaskInput, RunFacts, XComRow
from appliance.dagrun.run_record import RunQuery, RunRecord
from appliance.errors import DagError
from appliance.taskrun.protocols import DagView, InstanceRow, RunWish

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
class FakeNeighbour:
    """Another run."""

    card: RunRecord
    tasks: list[InstanceRow] = field(default_factory=list)
    rows: list[XComRow] = field(default_factory=list)

    async def instances(self) -> Sequence[InstanceRow]:
        """Return its instances."""
        return self.tasks

    async def xcoms(
        self, task_ids: Sequence[str], *, key: str | None
    ) -> Sequence[XComRow]:
        """Return the rows of these tasks."""
        return [r for r in self.rows if r.task_id in task_ids and key in (None, r.key)]


@dataclass
class FakeNeighbours:
    """Other runs, all of one DAG."""

    runs: list[FakeNeighbour] = field(default_factory=list)
    wishes: list[RunWish] = field(default_factory=list)

    async def find(self, _dag_id: str, question: RunQuery) -> list[FakeNeighbour]:
        """Return the runs a roster finds."""
        by_id = {run.card.run_id: run for run in self.runs}
        roster = ActiveRuns(closed={run_id: run.card for run_id, run in by_id.items()})
        return [by_id[card.run_id] for card in roster.find(question)]

    async def dag(self, dag_id: str) -> DagView:
        """Return a paused DAG, whatever its id but one."""
        if dag_id == "unknown":
            raise DagError("no DAG")
        return DagView(is_paused=True, owners=("me",), tags=("t",))

    async def tasks(self, dag_id: str) -> list[str]:
        """Return the tasks of every DAG but one."""
        if dag_id == "unknown":
            raise DagError("no DAG")
        return ["group.one", "group.two"]

    async def groups(self, _dag_id: str) -> dict[str, list[str]]:
        """Return one group."""
        return {"group": ["group.one", "group.two"]}

    async def start(self, wish: RunWish) -> bool:
        """Remember the wish; there is a run already if one of this id is known."""
        self.wishes.append(wish)
        return all(run.card.run_id != wish.run_id for run in self.runs)


@dataclass
class FakeRun:
    """Rows of XComs and instances, and secrets of the run's own."""

    rows: list[XComRow] = field(default_factory=list)
    tasks: list[InstanceRow] = field(default_factory=list)
    own: Secrets | None = None
    asked: list[object] = field(default_factory=list)
    others: FakeNeighbours = field(default_factory=FakeNeighbours)

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
