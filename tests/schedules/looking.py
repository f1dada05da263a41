"""Looks at a box through its server, without starting a command each time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import temporalio.client
from temporalio.client import WorkflowHistory

from appliance.config.load import load
from appliance.runs.client import ApplianceClient, connect
from appliance.schedules.messages import ScheduleList
from appliance.temporal.connection import dial
from tests.box import RunningBox

_T = TypeVar("_T")
PATIENCE_S = 100.0
POLL_S = 0.2


class Looker:
    """Asks one box."""

    def __init__(self, box: RunningBox) -> None:
        self._config = load(box.environ, cwd=Path.cwd())

    def ask(self, work: Callable[[ApplianceClient], Awaitable[_T]]) -> _T:
        """Ask what ``work`` asks."""

        async def asked() -> _T:
            async with connect(self._config) as client:
                return await work(client)

        return asyncio.run(asked())

    def ask_temporal(
        self, work: Callable[[temporalio.client.Client], Awaitable[_T]]
    ) -> _T:
        """Do with Temporal itself what ``work`` does."""

        async def asked() -> _T:
            return await work(await dial(self._config, wait_s=PATIENCE_S))

        return asyncio.run(asked())

    def everything(self) -> ScheduleList:
        """Return the schedules, and the problems."""
        return self.ask(lambda client: client.scheduling.schedules())

    def schedules(self) -> dict[str, dict[str, Any]]:
        """Return the schedules by name."""
        return {row.name: asdict(row) for row in self.everything().rows}

    def executions(self, dag_id: str) -> list[str]:
        """Return the run ids of all runs that have ended, as often as they were run."""
        rows = self.ask(lambda client: client.runs(dag_id))
        return sorted(row.run_id for row in rows if row.end_date)

    def states(self, dag_id: str) -> list[str | None]:
        """Return the states of a DAG's runs."""
        return [row.state for row in self.ask(lambda client: client.runs(dag_id))]

    def status(self, workflow_id: str) -> str | None:
        """Return how a workflow stands, in Temporal's words."""

        async def described(client: temporalio.client.Client) -> str | None:
            seen = await client.get_workflow_handle(workflow_id).describe()
            return None if seen.status is None else seen.status.name

        return self.ask_temporal(described)

    def terminate(self, workflow_id: str) -> None:
        """End a workflow as somebody may in the Temporal UI."""

        async def ended(client: temporalio.client.Client) -> None:
            await client.get_workflow_handle(workflow_id).terminate()

        self.ask_temporal(ended)

    def history(self, workflow_id: str) -> WorkflowHistory:
        """Return the history of a workflow."""

        async def fetched(client: temporalio.client.Client) -> WorkflowHistory:
            return await client.get_workflow_handle(workflow_id).fetch_history()

        return self.ask_temporal(fetched)

    def told(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Return what the one task of a run returned."""

        async def pushed(client: ApplianceClient) -> list[dict[str, Any]]:
            return await client.xcoms(await client.find(dag_id, run_id))

        (value,) = (
            row["value"] for row in self.ask(pushed) if row["key"] == "return_value"
        )
        found: dict[str, Any] = value
        return found


def until(is_so: Callable[[], _T]) -> _T:
    """Wait for a fact, and return it."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := is_so()):
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(POLL_S)
    return found
