"""What is asked of a DAG's workflow while it takes over what an earlier one knew is answered afterwards."""

import asyncio

import pytest
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from appliance.active_runs.client import ActiveRunsClient
from appliance.active_runs.messages import RunEnd
from appliance.active_runs.workflow import AirflowDag
from appliance.dagrun.run_record import RunQuery, RunRecord
from appliance.dagrun.states import RunState
from appliance.temporal import compression, messages
from tests.temporal.servers import serving

AT = "2026-01-01T00:00:00+00:00"


class SlowTakeover:
    """What the last workflow knew cannot be read at first."""

    def __init__(self) -> None:
        self.is_asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    @activity.defn(name=messages.REBUILD)
    async def rebuild(self, _name: str) -> str:
        if activity.info().is_local:
            raise ApplicationError("not yet", non_retryable=True)
        self.is_asked.set()
        await self.may_answer.wait()
        return compression.packed({})


@pytest.mark.needs_server
async def test_runs_are_found_that_ended_before_the_workflow_knew_its_state() -> None:
    takeover = SlowTakeover()
    async with (
        serving() as client,
        Worker(
            client,
            task_queue="q",
            workflows=[AirflowDag],
            activities=[takeover.rebuild],
        ),
    ):
        runs = ActiveRunsClient(client, "q")
        record = RunRecord("r", "dag-d-r", "manual", AT, state=RunState.SUCCESS)
        await runs.close(RunEnd("d", record))
        await takeover.is_asked.wait()
        asyncio.get_running_loop().call_later(0.5, takeover.may_answer.set)
        found = await runs.find("d", RunQuery())

    assert [(one.card.run_id, one.card.state) for one in found] == [
        ("r", RunState.SUCCESS)
    ]
