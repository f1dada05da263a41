"""What a worker does for runs that have to do with other runs, and for the workflows that stand for DAGs.

An activity that waits fails until it has what it waits for: its next try leaves no event in any history.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError

from appliance.dagrun.past import is_met
from appliance.dagrun.roster import RunQuestion
from appliance.dagrun.states import RunState
from appliance.temporal import messages
from appliance.temporal.messages import (
    Claim,
    Closing,
    Entry,
    FoundRun,
    LostRun,
    PastQuestion,
)
from appliance.temporal.worker.inheritance import Inheritance, UnreadableError
from appliance.temporal.worker.registry import Registry
from appliance.temporal.workflows import packing

_SOON = timedelta(seconds=10)
_AT_ONCE = 16


class Clerk:
    """These activities."""

    def __init__(
        self, client: Client, registry: Registry, is_known: Callable[[Claim], bool]
    ) -> None:
        """``registry``: the DAGs' workflows; ``is_known``: whether a worker has read what a run was started with."""
        self._is_known = is_known
        self._registry = registry
        self._inheritance = Inheritance(client)

    @property
    def activities(self) -> Sequence[Callable[..., Any]]:
        """All of them, as a worker takes them."""
        return (
            self.enter_run,
            self.keep_place,
            self.close_run,
            self.find_lost_runs,
            self.rebuild,
            self.await_past,
        )

    def refused(self) -> str:
        """Say which workflows wait as what the last one knew cannot be read; empty when none does."""
        return self._inheritance.refused()

    @activity.defn(name=messages.ENTER_RUN)
    async def enter_run(self, entry: Entry) -> bool:
        """Announce a run; tell whether it may run now.

        Raises:
            ApplicationError: type ``UnvouchedPlan``.
        """
        if entry.claim is not None and not self._is_known(entry.claim):
            raise ApplicationError(
                "no worker of this box has read the plan this run was started with",
                type=messages.UNVOUCHED,
                non_retryable=True,
            )
        return await self._registry.enter(replace(entry, claim=None))

    @activity.defn(name=messages.KEEP_PLACE)
    async def keep_place(self, entry: Entry) -> None:
        """Announce a run that waits again and again, until it may run.

        Raises:
            ApplicationError: not yet.
        """
        if not await self._registry.enter(entry):
            raise not_yet(f"{entry.limit} runs of {entry.dag_id} are running")

    @activity.defn(name=messages.CLOSE_RUN)
    async def close_run(self, closing: Closing) -> None:
        """Tell how a run ended."""
        tasks = packing.pack_rows(closing.rows)
        await self._registry.close(Closing(closing.dag_id, closing.card, tasks=tasks))

    @activity.defn(name=messages.FIND_LOST_RUNS)
    async def find_lost_runs(self, dag_id: str) -> list[LostRun]:
        """Return which runs that others wait for are gone; nothing when nobody waits.

        Raises:
            ApplicationError: all are running, and others wait.
        """
        gone = await self._registry.lost_holders(dag_id)
        if gone == []:
            raise not_yet("all of them are running", _SOON)
        return gone or []

    @activity.defn(name=messages.REBUILD)
    async def rebuild(self, name: str) -> str:
        """Return what the last workflow of this id knew, which somebody terminated; nothing for a new one.

        Raises:
            ApplicationError: it cannot be read, by a local activity never again.
        """
        info = activity.info()
        try:
            return await self._inheritance.of(name, info.workflow_run_id or "")
        except UnreadableError as err:
            raise ApplicationError(
                str(err), type="Unreadable", non_retryable=info.is_local
            ) from err

    @activity.defn(name=messages.AWAIT_PAST)
    async def await_past(self, question: PastQuestion) -> list[str]:
        """Return which of the tasks may run as far as earlier runs are concerned.

        Raises:
            ApplicationError: none of them yet.
        """
        earlier = RunQuestion(
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


def not_yet(why: str, again: timedelta | None = None) -> ApplicationError:
    """Return the error of an activity that is to be tried again, without a trace in any history."""
    return ApplicationError(why, type="NotYet", next_retry_delay=again)
