"""Protocols for what a task may ask of its own DAG run and of other runs.

Everything else a try needs was sent along with it; this is for what it could not know beforehand.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from appliance.config.model import Secrets
from appliance.dagrun.attempt import XComRow
from appliance.dagrun.run_record import RunQuery, RunRecord


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """One task instance of a run. ``map_index`` is -1 for a task that is not mapped, or not expanded yet."""

    task_id: str
    map_index: int
    state: str | None
    duration_s: float | None = None
    try_number: int = 0
    start_date: str | None = None
    end_date: str | None = None


@dataclass(frozen=True, slots=True)
class RunWish:
    """A run that a task wants to be started."""

    dag_id: str
    run_id: str
    conf: dict[str, Any] = field(default_factory=dict)
    logical_date: str | None = None
    """None: it has none."""
    run_after: str | None = None
    """It waits queued until then; None: it is due now."""
    is_reset: bool = False
    """Whether to run a run of this id again if there is one."""
    triggering_user: str | None = None


@dataclass(frozen=True, slots=True)
class DagView:
    """A DAG as a task may see it."""

    is_paused: bool
    """Whether its schedule is."""
    next_run: str | None = None
    owners: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()


class OtherRun(Protocol):
    """One run, of this DAG or another."""

    @property
    def card(self) -> RunRecord:
        """What is known of it."""
        ...

    async def instances(self) -> Sequence[InstanceRow]:
        """Return all its instances; none when nobody remembers them."""
        ...

    async def xcoms(
        self, task_ids: Sequence[str], *, key: str | None
    ) -> Sequence[XComRow]:
        """As of a try's own run; none when its history has expired."""
        ...


class OtherRuns(Protocol):
    """All runs of all DAGs."""

    async def find(self, dag_id: str, question: RunQuery) -> Sequence[OtherRun]:
        """Return the runs asked for; a DAG that never ran has none."""
        ...

    async def dag(self, dag_id: str) -> DagView:
        """Return a DAG.

        Raises:
            DagError: There is none.
        """
        ...

    async def tasks(self, dag_id: str) -> Collection[str]:
        """Return the ids of a DAG's tasks.

        Raises:
            DagError: There is no such DAG.
        """
        ...

    async def groups(self, dag_id: str) -> Mapping[str, Sequence[str]]:
        """Return the task ids of each task group of a DAG, those of inner groups included.

        Raises:
            DagError: There is no such DAG.
        """
        ...

    async def start(self, wish: RunWish) -> bool:
        """Start a run; False when there is one of this id, and it is not to be reset.

        Raises:
            DagError: The DAG cannot be run so.
        """
        ...


class RunView(Protocol):
    """The run a try belongs to."""

    @property
    def others(self) -> OtherRuns:
        """All other runs."""
        ...

    async def xcoms(
        self, task_ids: Sequence[str], *, key: str | None
    ) -> Sequence[XComRow]:
        """Return the XComs of these tasks, every map index; every key when ``key`` is None."""
        ...

    async def instances(self, task_ids: Sequence[str] | None) -> Sequence[InstanceRow]:
        """Return the instances of these tasks; of every task when None. An unknown task id has none."""
        ...

    async def secrets(self) -> Secrets | None:
        """Return the connections and variables the run was submitted with, opened."""
        ...
