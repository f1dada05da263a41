"""Activities of the DAG workflow and of the runs it admits: announce a run, keep its place, record its end, find lost runs.

An activity that waits fails until it has what it waits for: its next try leaves no event in any history.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from appliance.active_runs.client import ActiveRunsClient
from appliance.active_runs.messages import (
    CLOSE_RUN,
    ENTER_RUN,
    FIND_LOST_RUNS,
    KEEP_PLACE,
    UNSIGNED_PLAN,
    LostRun,
    RunAnnouncement,
    RunEnd,
)
from appliance.temporal import compression
from appliance.temporal.messages import PlanClaim
from appliance.temporal.waiting import not_yet

_SOON = timedelta(seconds=10)
_AT_ONCE = 16


class ActiveRunsActivities:
    """These activities."""

    def __init__(
        self, registry: ActiveRunsClient, is_known: Callable[[PlanClaim], bool]
    ) -> None:
        """``registry``: the DAGs' workflows; ``is_known``: whether a worker has read what a run was started with."""
        self._is_known = is_known
        self._registry = registry

    @property
    def activities(self) -> Sequence[Callable[..., Any]]:
        """All of them, as a worker takes them."""
        return (
            self.enter_run,
            self.keep_place,
            self.close_run,
            self.find_lost_runs,
        )

    @activity.defn(name=ENTER_RUN)
    async def enter_run(self, entry: RunAnnouncement) -> bool:
        """Announce a run; tell whether it may run now.

        Raises:
            ApplicationError: type ``UnvouchedPlan``.
        """
        if entry.claim is not None and not self._is_known(entry.claim):
            raise ApplicationError(
                "no worker of this box has read the plan this run was started with",
                type=UNSIGNED_PLAN,
                non_retryable=True,
            )
        return await self._registry.enter(replace(entry, claim=None))

    @activity.defn(name=KEEP_PLACE)
    async def keep_place(self, entry: RunAnnouncement) -> None:
        """Announce a run that waits again and again, until it may run.

        Raises:
            ApplicationError: not yet.
        """
        if not await self._registry.enter(entry):
            raise not_yet(f"{entry.limit} runs of {entry.dag_id} are running")

    @activity.defn(name=CLOSE_RUN)
    async def close_run(self, closing: RunEnd) -> None:
        """Tell how a run ended."""
        tasks = compression.pack_rows(closing.rows)
        await self._registry.close(RunEnd(closing.dag_id, closing.card, tasks=tasks))

    @activity.defn(name=FIND_LOST_RUNS)
    async def find_lost_runs(self, dag_id: str) -> list[LostRun]:
        """Return which runs that others wait for are gone; nothing when nobody waits.

        Raises:
            ApplicationError: all are running, and others wait.
        """
        gone = await self._registry.lost_holders(dag_id)
        if gone == []:
            raise not_yet("all of them are running", _SOON)
        return gone or []
