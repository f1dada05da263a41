"""What crosses over when a run goes on in a fresh workflow run."""

from dataclasses import asdict, replace
from datetime import timedelta

import pytest
from temporalio import workflow
from temporalio.worker import Replayer, UnsandboxedWorkflowRunner, Worker

from appliance.dagrun.attempt import TaskExecutionResult
from appliance.dagrun.events import StartTask
from appliance.dagrun.machine import DagRun
from appliance.dagrun.states import TaskState
from appliance.runs.continue_as_new import CarriedRun, CarriedTry, is_too_large
from appliance.runs.run_data import RunData
from appliance.temporal import limits
from appliance.temporal.messages import DagExecutionInput
from tests.dagrun.builders import plan
from tests.fakes.runs import NOON, RUN
from tests.temporal.servers import serving

PLAIN = UnsandboxedWorkflowRunner()

REQUEST = DagExecutionInput("shop", run_id="manual__1", conf={"day": 1})


def carried() -> CarriedRun:
    machine = DagRun(plan("a >> c, b >> c"), logical_date=NOON)
    starts = [one for one in machine.start(0.0) if isinstance(one, StartTask)]
    assert [one.task_id for one in starts] == ["a", "b"]
    tries = [CarriedTry(starts[0], "id-of-a", "queue@box"), CarriedTry(starts[1])]
    return CarriedRun(RUN, machine, RunData(), tries, {})


def test_a_run_is_the_same_after_it() -> None:
    before = carried()
    fresh = before.onto(REQUEST)

    assert replace(fresh, carried=None) == REQUEST
    assert fresh.carried is not None
    after = CarriedRun.of(fresh.carried, before.machine.plan)
    assert (after.facts, list(after.tries)) == (before.facts, list(before.tries))
    assert after.machine.to_json() == before.machine.to_json()


def test_a_wide_run_fits() -> None:
    before = carried()
    ledger = before.ledger
    for index in range(10_000):
        moment = f"2026-01-01T{index % 24:02}:{index % 60:02}:07.{index:06}+00:00"
        ledger.started(("m", index), moment, is_poke=False)
        ledger.ended(
            ("m", index), TaskExecutionResult(TaskState.SUCCESS, moment, moment)
        )

    fresh = before.onto(REQUEST)

    assert limits.size_of(asdict(fresh)) < limits.PAYLOAD_BYTES / 4


class Zlib:
    """What the one of a process makes of a run."""

    size = 0


@workflow.defn
class HandsOver:
    """Hands itself over once if it is not too large, and sleeps after it has decided."""

    @workflow.run
    async def run(self, given: DagExecutionInput) -> str:
        packed = replace(given, conf={"x": "x" * Zlib.size})
        if given.carried is None and not is_too_large(packed):
            workflow.continue_as_new(replace(given, carried="yes"))
        await workflow.sleep(timedelta(milliseconds=1))
        return "stayed" if given.carried is None else "went"


@pytest.mark.needs_server
@pytest.mark.timeout(60)
@pytest.mark.parametrize("size", [1, limits.PAYLOAD_BYTES])
async def test_a_run_too_large_to_send_stays_where_it_is_in_a_replay_as_well(
    size: int,
) -> None:
    """Though another zlib makes more of it, or less."""
    Zlib.size = size
    async with (
        serving() as client,
        Worker(client, task_queue="q", workflows=[HandsOver], workflow_runner=PLAIN),
    ):
        handle = await client.start_workflow(
            HandsOver.run, REQUEST, id="run", task_queue="q"
        )
        assert await handle.result() == ("went" if size == 1 else "stayed")
        first = client.get_workflow_handle("run", run_id=handle.first_execution_run_id)
        history = await first.fetch_history()

    replayer = Replayer(workflows=[HandsOver], workflow_runner=PLAIN)
    for Zlib.size in (1, limits.PAYLOAD_BYTES):
        await replayer.replay_workflow(history)
