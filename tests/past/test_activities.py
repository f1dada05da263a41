"""What earlier runs owe a task is looked up in time, however many of them there are."""

import asyncio
from typing import Any, cast

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from appliance.active_runs.client import ActiveRunsClient
from appliance.active_runs.messages import FoundRun
from appliance.active_runs.model import ActiveRuns
from appliance.dagrun.run_record import RunQuery, RunRecord
from appliance.dagrun.states import RunState
from appliance.past.activities import PastActivities
from appliance.past.messages import PastQuestion
from appliance.past.model import PastTask
from appliance.temporal.messages import TaskRow

RUNS = 40


class Past:
    """Earlier runs that have to be asked one by one; each answers when some others are asked, too."""

    def __init__(self, **having: int) -> None:
        """``having``: in which run each task was."""
        self.having = having
        self.asked = 0
        self.some = asyncio.Barrier(8)
        self.roster = ActiveRuns()
        for number in range(RUNS):
            card = RunRecord(
                f"run{number:02}",
                f"dag-d-run{number:02}",
                "scheduled",
                run_after="2026",
                logical_date=f"2026-01-01T00:{number:02}",
                state=RunState.SUCCESS,
            )
            self.roster.close(card, "")

    async def find(self, _dag_id: str, question: RunQuery) -> list[FoundRun]:
        return [FoundRun(card) for card in self.roster.find(question)]

    async def rows(self, run: FoundRun) -> list[TaskRow]:
        number = int(run.card.run_id[3:])
        self.asked += 1
        if self.asked > 1:
            await self.some.wait()
        return [
            TaskRow(task, -1, "success", 1)
            for task, there in self.having.items()
            if there == number
        ]

    async def await_past(self) -> list[str]:
        tasks = [PastTask("new", ignores_first=True)]
        activities = PastActivities(cast(ActiveRunsClient, self))
        question = PastQuestion("d", "2026-01-02", no_manual=False, tasks=tasks)
        environment = ActivityEnvironment()
        asked: Any = environment.run(activities.await_past, question)
        return cast(list[str], await asyncio.wait_for(asked, 10))


async def test_a_task_no_earlier_run_had_may_run_at_once() -> None:
    past = Past()

    assert await past.await_past() == ["new"]


async def test_runs_older_than_the_last_that_had_it_are_not_asked() -> None:
    past = Past(new=30)

    with pytest.raises(ApplicationError, match="have not succeeded"):
        await past.await_past()

    assert past.asked < RUNS / 2
