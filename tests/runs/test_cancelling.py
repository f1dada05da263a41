"""A run is cancelled while it waits for a step of its own: it stops its tries, tears down and ends as cancelled."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio
from temporalio import activity
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.worker import Worker

from appliance.active_runs.activities import ActiveRunsActivities
from appliance.active_runs.client import ActiveRunsClient
from appliance.active_runs.messages import CLOSE_RUN, ENTER_RUN, RunAnnouncement, RunEnd
from appliance.active_runs.workflow import AirflowDag
from appliance.dagrun.attempt import ActivityTaskInput, TaskExecutionResult
from appliance.dagrun.states import TaskState
from appliance.runs.messages import ACTIVITY, FIND_HOLDERS, DagQuestion, TryLocation
from appliance.runs.workflow import ExecuteAirflowDagWorkflow
from appliance.temporal import messages
from appliance.temporal.messages import DagAnswer
from appliance.worker.entity_recovery import EntityRecovery
from appliance.worker_questions.messages import READ_DAG
from tests.fakes.runs import NOON
from tests.temporal.servers import serving

pytestmark = [pytest.mark.needs_server, pytest.mark.timeout(60)]

SUGGESTED = "limit.historyCount.suggestContinueAsNew=12"
"""A server that calls every history long."""
TASKS: dict[str, Any] = {
    "first": {"down": ["clean"]},
    "long": {"down": ["clean"]},
    "clean": {"teardown": True, "rule": "all_done_setup_success"},
}


class Steps:
    """What a worker does for the run; a step may take for ever."""

    def __init__(self, client: Client, slow: str) -> None:
        self.clerk = ActiveRunsActivities(ActiveRunsClient(client, "q"), lambda _: True)
        self.recovery = EntityRecovery(client)
        self.began = asyncio.Event()
        self.ran: list[str] = []
        self.closed: list[str] = []
        self.slow = slow

    async def _begin(self, step: str) -> None:
        if self.slow == step:
            self.began.set()
            await asyncio.Event().wait()

    @activity.defn(name=ENTER_RUN)
    async def enter_run(self, entry: RunAnnouncement) -> bool:
        may_run = await self.clerk.enter_run(entry)
        await self._begin(ENTER_RUN)
        return may_run

    @activity.defn(name=CLOSE_RUN)
    async def close_run(self, closing: RunEnd) -> None:
        self.closed.append(closing.card.state)

    @activity.defn(name=READ_DAG)
    async def read_dag(self, question: DagQuestion) -> DagAnswer:
        plan = {"dag_id": question.dag_id, "tasks": TASKS}
        return DagAnswer(dag_id=question.dag_id, file="d.py", plan=plan)

    @activity.defn(name=FIND_HOLDERS)
    async def find_holders(self) -> dict[str, TryLocation]:
        await self._begin(FIND_HOLDERS)
        return {activity.info().activity_id: TryLocation()}

    @activity.defn(name=ACTIVITY)
    async def run_airflow_task(self, task: ActivityTaskInput) -> dict[str, Any]:
        self.ran.append(task.task_id)
        try:
            while task.task_id == "long":
                activity.heartbeat()
                await asyncio.sleep(0.1)
        except asyncio.CancelledError:
            raise ApplicationError(
                "stopped", type=messages.TRY_STOPPED, non_retryable=True
            ) from None
        return asdict(TaskExecutionResult(TaskState.SUCCESS, NOON, NOON))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client() -> AsyncIterator[Client]:
    async with serving(SUGGESTED) as server:
        yield server


async def cancelled(client: Client, steps: Steps) -> Any:
    """Start a run and cancel it in the slow step; return how it ended and the states of its tasks."""
    async with Worker(
        client,
        task_queue="q",
        workflows=[ExecuteAirflowDagWorkflow, AirflowDag],
        activities=[
            steps.read_dag,
            steps.find_holders,
            steps.run_airflow_task,
            steps.enter_run,
            steps.close_run,
            steps.recovery.rebuild,
        ],
        max_heartbeat_throttle_interval=timedelta(seconds=0.1),
    ):
        handle: WorkflowHandle[Any, Any] = await client.start_workflow(
            messages.WORKFLOW, {"dag_id": "d"}, id=steps.slow, task_queue="q"
        )
        await steps.began.wait()
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as failed:
            await handle.result()
        rows = await handle.query(messages.STATES_QUERY)
    return failed.value.cause, {row["task_id"]: row["state"] for row in rows}


@pytest.mark.asyncio(loop_scope="module")
async def test_while_it_looks_where_its_tries_are(client: Client) -> None:
    steps = Steps(client, FIND_HOLDERS)

    cause, states = await cancelled(client, steps)

    assert isinstance(cause, CancelledError)
    assert states == {"first": "success", "long": "failed", "clean": "success"}
    assert steps.ran[-1] == "clean"
    assert steps.closed == ["failed"]


@pytest.mark.asyncio(loop_scope="module")
async def test_while_it_announces_itself(client: Client) -> None:
    steps = Steps(client, ENTER_RUN)

    cause, _ = await cancelled(client, steps)

    assert isinstance(cause, CancelledError)
    assert steps.closed == ["failed"]
    assert not steps.ran
