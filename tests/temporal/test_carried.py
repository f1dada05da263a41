"""What crosses over when a run goes on in a fresh workflow run."""

from dataclasses import asdict, replace
from secrets import token_hex

from appliance.dagrun.events import StartTask
from appliance.dagrun.machine import DagRun
from appliance.dagrun.states import TaskState
from appliance.dagrun.tries import TaskExecutionResult, XComRow
from appliance.temporal import limits
from appliance.temporal.messages import DagExecutionInput
from appliance.temporal.workflows.handover import Carried, CarriedTry
from appliance.temporal.workflows.ledger import Ledger
from tests.dagrun.builders import plan
from tests.fakes.runs import NOON, RUN

REQUEST = DagExecutionInput("shop", run_id="manual__1", conf={"day": 1})


def carried() -> Carried:
    machine = DagRun(plan("a >> c, b >> c"), logical_date=NOON)
    starts = [one for one in machine.start(0.0) if isinstance(one, StartTask)]
    assert [one.task_id for one in starts] == ["a", "b"]
    tries = [CarriedTry(starts[0], "id-of-a", "queue@box"), CarriedTry(starts[1])]
    return Carried(RUN, machine, Ledger(), tries, {})


def test_a_run_is_the_same_after_it() -> None:
    before = carried()
    fresh = before.onto(REQUEST)

    assert fresh is not None
    assert replace(fresh, carried=None) == REQUEST
    assert fresh.carried is not None
    after = Carried.of(fresh.carried, before.machine.plan)
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

    assert fresh is not None
    assert limits.size_of(asdict(fresh)) < limits.PAYLOAD_BYTES / 4


def test_a_run_too_large_to_send_stays_where_it_is() -> None:
    before = carried()
    noise = token_hex(1_200_000)
    row = XComRow("a", -1, "k", noise)
    result = TaskExecutionResult(TaskState.SUCCESS, NOON, NOON, xcoms=(row,))
    before.ledger.ended(("a", -1), result)

    assert before.onto(replace(REQUEST, conf={"noise": noise})) is None
