"""What a worker had that died is given to others at once, even what it had not heard of yet."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio import activity
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import (
    PollActivityTaskQueueRequest,
    PollActivityTaskQueueResponse,
)
from temporalio.client import Client

from appliance.runs.attempt_journal import AttemptJournal
from appliance.runs.messages import DagQuestion
from appliance.temporal import messages
from appliance.temporal.messages import DagAnswer
from appliance.worker import crash_recovery
from appliance.worker_questions.messages import READ_DAG
from tests.temporal.servers import running_runs

pytestmark = [pytest.mark.needs_server, pytest.mark.timeout(60)]

DEAD, OTHER = "the-one-that-dies", "another"


@activity.defn(name=READ_DAG)
async def read_dag(question: DagQuestion) -> DagAnswer:
    plan = {"dag_id": question.dag_id, "tasks": {"a": {}, "b": {}}}
    return DagAnswer(dag_id=question.dag_id, file="d.py", plan=plan)


@pytest_asyncio.fixture
async def client() -> AsyncIterator[Client]:
    """Give a server, and a worker that runs workflows and takes no tries."""
    async with running_runs(read_dag, no_remote_activities=True) as found:
        yield found


async def take(client: Client, identity: str) -> PollActivityTaskQueueResponse:
    """Have the server hand out a try, of which no more is heard."""
    request = PollActivityTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name="q"), identity=identity
    )
    return await client.workflow_service.poll_activity_task_queue(request)


def facts(taken: PollActivityTaskQueueResponse) -> tuple[str, int]:
    task: dict[str, Any] = json.loads(taken.input.payloads[0].data)
    return task["task_id"], task["try_number"]


async def is_listed(client: Client) -> None:
    for _ in range(100):
        if [one async for one in client.list_workflows("WorkflowId = 'run'")]:
            return
        await asyncio.sleep(0.1)


async def test_what_a_dead_worker_had_not_heard_of_begins_again_at_once(
    client: Client, tmp_path: Path
) -> None:
    run = await client.start_workflow(
        messages.WORKFLOW, {"dag_id": "d"}, id="run", task_queue="q"
    )
    unheard, kept = await take(client, DEAD), await take(client, OTHER)
    await is_listed(client)
    heir = await Client.connect(client.service_client.config.target_host, identity=DEAD)

    await crash_recovery.report(
        heir,
        "q",
        tries=AttemptJournal(tmp_path / "tries"),
        waits=AttemptJournal(tmp_path / "waits"),
    )

    again = await take(client, OTHER)
    assert facts(again) == facts(unheard) == (facts(unheard)[0], 1)
    pending = (await run.describe()).raw_description.pending_activities
    assert {one.activity_id for one in pending} == {again.activity_id, kept.activity_id}
    assert {one.last_worker_identity for one in pending} == {OTHER}
    await run.terminate()


async def test_what_ended_unheard_does_not_run_again_under_the_same_number(
    client: Client, tmp_path: Path
) -> None:
    run = await client.start_workflow(
        messages.WORKFLOW, {"dag_id": "d"}, id="run", task_queue="q"
    )
    heard, unheard = await take(client, DEAD), await take(client, DEAD)
    journal = AttemptJournal(tmp_path / "tries")
    for taken in (heard, unheard):
        journal.begin(taken.task_token)
        journal.end(taken.task_token)
    handle = client.get_async_activity_handle(task_token=heard.task_token)
    await handle.complete(
        {
            "state": "success",
            "start_date": "2026-01-01T00:00:00+00:00",
            "end_date": "2026-01-01T00:00:01+00:00",
            "xcoms": [],
            "deleted": [],
            "skipped": [],
        }
    )
    await is_listed(client)
    heir = await Client.connect(client.service_client.config.target_host, identity=DEAD)

    await crash_recovery.report(
        heir,
        "q",
        tries=AttemptJournal(tmp_path / "tries"),
        waits=AttemptJournal(tmp_path / "waits"),
    )

    again = await take(client, OTHER)
    assert facts(again) == (facts(unheard)[0], 2)
    pending = (await run.describe()).raw_description.pending_activities
    assert [one.activity_id for one in pending] == [again.activity_id]
    assert AttemptJournal(tmp_path / "tries").left == {}
    await run.terminate()
