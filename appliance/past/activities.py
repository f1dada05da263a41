"""Activity of runs that depend on earlier ones: waits until what their tasks depend on has happened."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from temporalio import activity

from appliance.active_runs.client import ActiveRunsClient
from appliance.active_runs.messages import FoundRun
from appliance.dagrun.run_record import RunQuery
from appliance.dagrun.states import RunState
from appliance.past.messages import AWAIT_PAST, PastQuestion
from appliance.past.model import is_met
from appliance.temporal.waiting import not_yet

_AT_ONCE = 16


class PastActivities:
    """These activities."""

    def __init__(self, registry: ActiveRunsClient) -> None:
        """``registry``: the runs of DAGs."""
        self._registry = registry

    @property
    def activities(self) -> Sequence[Callable[..., Any]]:
        """All of them, as a worker takes them."""
        return (self.await_past,)

    @activity.defn(name=AWAIT_PAST)
    async def await_past(self, question: PastQuestion) -> list[str]:
        """Return which of the tasks may run as far as earlier runs are concerned.

        Raises:
            ApplicationError: none of them yet.
        """
        earlier = RunQuery(
            before=question.logical_date, is_dated=True, no_manual=question.no_manual
        )
        found = await self._registry.find(
            question.dag_id, replace(earlier, most=1, with_tasks=True)
        )
        met = [task.task_id for task in question.tasks]
        for last in found:
            if last.card.state is RunState.QUEUED:
                raise not_yet(f"{last.card.run_id} has not begun")
            previous = await self._states(last)
            older = [previous]
            new = {task.task_id for task in question.tasks if task.ignores_first}
            if new := new - previous.keys():
                everything = replace(earlier, with_tasks=True, no_manual=False)
                runs = await self._registry.find(question.dag_id, everything)
                older += await self._until_seen(new, runs)
            met = [
                task.task_id
                for task in question.tasks
                if is_met(task, last.card.logical_date, previous, older)
            ]
            if not met:
                raise not_yet(f"tasks of {last.card.run_id} have not succeeded")
        return met

    async def _until_seen(
        self, task_ids: set[str], runs: Sequence[FoundRun]
    ) -> list[dict[str, list[str | None]]]:
        """Return the states of these runs, the latest first, as far as it takes to have seen every task."""
        found: list[dict[str, list[str | None]]] = []
        left, latest = set(task_ids), runs[::-1]
        for start in range(0, len(latest), _AT_ONCE):
            some = latest[start : start + _AT_ONCE]
            found += await asyncio.gather(*map(self._states, some))
            left.difference_update(*found[start:])
            if not left:
                break
        return found

    async def _states(self, run: FoundRun) -> dict[str, list[str | None]]:
        states: dict[str, list[str | None]] = {}
        for row in await self._registry.rows(run):
            states.setdefault(row.task_id, []).append(row.state)
        return states
