"""Runs started by anybody, with any input: each ends at once, in words, or is a run as any other."""

import base64
import json
import zlib
from typing import Any

import pytest

from appliance.runs.dag_reading import digest_of
from appliance.temporal.keyring import Keyring, ensure_key
from appliance.temporal.messages import DagAnswer, PlanClaim, PoolFacts
from appliance.temporal.signed_plans import PlanSigner
from tests.attacks.attacker import Attacker
from tests.attacks.conftest import Target

pytestmark = [pytest.mark.needs_server, pytest.mark.timeout(120)]

RUN = "ExecuteAirflowDagWorkflow"
DEEP: dict[str, Any] = {}
for _ in range(2000):
    DEEP = {"x": DEEP}


def packed(value: object) -> str:
    return base64.b85encode(zlib.compress(json.dumps(value).encode())).decode()


def plan_of(**tasks: Any) -> dict[str, Any]:
    return {"dag_id": "shop", "tasks": tasks}


@pytest.mark.parametrize(
    "plan",
    [
        plan_of(sell={}),
        plan_of(pwn={}),
        plan_of(sell={"retries": "many", "slots": {}}),
        plan_of(sell={"retries": 1 << 80, "delay": 1e300}),
        {"tasks": {"a": {"down": ["a"]}}, "dag_id": "shop"},
        {"max_active_runs": "x", "max_active_tasks": None, "tasks": []},
        {},
        DEEP,
    ],
    ids=lambda plan: json.dumps(plan)[:60],
)
async def test_a_plan_that_no_worker_has_made_is_left_aside(
    attacker: Attacker, plan: dict[str, Any]
) -> None:
    dag = {"dag_id": "shop", "file": "shop.py", "plan": plan}

    told = await attacker.start(
        RUN, {"dag_id": "shop", "dag": {**dag, "has_search_attributes": True}}
    )

    result = json.loads(told.removeprefix("OK "))
    assert result["state"] == "success"
    assert [row["task_id"] for row in result["tasks"]] == ["sell"]


async def test_a_file_outside_the_dag_folder_is_named_and_not_opened(
    attacker: Attacker, target: Target
) -> None:
    plan = {"dag_id": "evil", "tasks": {"pwn": {}}}
    dag = {"dag_id": "evil", "file": str(target.evil), "plan": plan}

    told = await attacker.start(RUN, {"dag_id": "evil", "dag": dag})

    assert 'no DAG "evil" in' in told
    assert (
        f"the plan of '{target.evil}' this run was started with is left aside" in told
    )


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ([{"dag_id": "../x"}], "dag_id: '../x' is none"),
        ([{"dag_id": ""}], "dag_id: '' is none: it is empty"),
        ([{"dag_id": "\ud800"}], "cannot be printed"),
        ([{"dag_id": "shop", "run_id": "../../x"}], "run_id: '../../x' is none"),
        ([{"dag_id": "shop", "run_id": "a\0"}], "run_id: "),
        ([{"dag_id": "shop", "run_id": "x" * 300}], "at most 250"),
        ([{"dag_id": "shop", "run_type": "\n"}], "run_type: "),
        ([{"dag_id": "shop", "run_type": "nightly"}], "nightly"),
        ([{"dag_id": "shop", "dag_file": "../outside/evil.py"}], "no such file"),
        ([{"dag_id": "shop", "dag_file": "ignored/evil.py"}], "no file of the DAG"),
        ([{"dag_id": "shop", "dag_file": "\ud800"}], "dag_file: "),
        ([{"dag_id": "shop", "logical_date": "0001-01-01T00:00+14:00"}], "logical_"),
        ([{"dag_id": "shop", "data_interval_start": "soon"}], "data_interval_start"),
        ([{"dag_id": "shop", "run_after": "9998-01-01"}], "too far away"),
        ([{"dag_id": "shop", "max_active_runs": 0}], "max_active_runs: 0"),
        ([{"dag_id": "shop", "max_active_runs": 1 << 70}], "max_active_runs: "),
        ([{"dag_id": "shop", "carried": packed({})}], "carried: only"),
        ([{"dag_id": "shop", "conf": DEEP}], "levels deep"),
        ([{"dag_id": "shop", "lane": "\ud800"}], "lane: "),
        ([{"dag_id": "shop", "triggering_user": 5}], "cannot be read"),
        ([{"dag_id": "shop", "conf": []}], "cannot be read"),
        ([5], "cannot be read"),
        ([b"x"], "cannot be read"),
        ([None], "cannot be read"),
        ([], "missing"),
        ([{"dag_id": "shop"}, {}], "takes 2"),
    ],
    ids=lambda value: ascii(value)[:60],
)
async def test_input_that_cannot_be_ends_the_run(
    attacker: Attacker, given: list[Any], why: str
) -> None:
    told = await attacker.start(RUN, *given)

    assert told.startswith("ERROR ")
    assert why in told


@pytest.mark.parametrize(
    ("kind", "given", "why"),
    [
        ("AirflowDag", [{"dag_id": "d", "packed": packed({})}], "packed: only"),
        ("AirflowDag", [{"dag_id": "\ud800"}], "text that cannot be written"),
        ("AirflowDag", [7], "cannot be read"),
        ("AirflowDag", [], "missing"),
        ("AirflowPool", [{"pool": "p", "packed": packed({})}], "packed: only"),
        ("AirflowPool", [{}], "cannot be read"),
        ("AirflowScheduler", [{"packed": packed({})}], "packed: only"),
        ("AirflowScheduler", [{"problems": 5}], "cannot be read"),
        ("AirflowVault", [{"idle_s": 1e300}], "no time"),
        ("AirflowVault", [{"idle_s": -1}], "no time"),
        ("AirflowVault", [{"items": {"a": {"b": 5}}}], "cannot be read"),
        ("AirflowScheduleAction", [{"name": "\ud800"}], "text that cannot be"),
        ("AirflowScheduleAction", [{"name": "none such"}], "no schedule 'none such'"),
        ("AirflowBackfill", [{"dag_id": "shop"}, {}], "cannot be read"),
        ("AskApplianceWorker", [{"activity": "start_runs", "question": []}], "asked"),
        ("AskApplianceWorker", [{"activity": "run_airflow_task"}], "asked"),
        ("AskApplianceWorker", [{"activity": "list_dags", "timeout_s": 1e300}], "wait"),
        ("AskApplianceWorker", [{"activity": "read_dag", "question": DEEP}], "deep"),
        ("AskApplianceWorker", [{"activity": "read_dag", "question": 5}], "decoding"),
    ],
    ids=lambda value: ascii(value)[:60],
)
async def test_no_other_workflow_takes_what_nobody_gives_it(
    attacker: Attacker, kind: str, given: list[Any], why: str
) -> None:
    told = await attacker.start(kind, *given)

    assert told.startswith("ERROR ")
    assert why in told


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"max_active_runs": 0}, "max_active_runs: 0"),
        ({"max_active_runs": -1}, "max_active_runs: -1"),
        ({"from_date": "soon"}, "from_date: no ISO 8601 time"),
        ({"to_date": "0001-01-01T00:00+14:00"}, "to_date: no ISO 8601 time"),
        ({"dag_id": "../x"}, "dag_id: it would lead"),
        ({"reprocess": "all"}, "cannot be read"),
        ({"conf": DEEP}, "levels deep"),
        ({}, "non-periodic schedule"),
    ],
    ids=lambda value: ascii(value)[:60],
)
async def test_a_backfill_that_cannot_be_ends(
    attacker: Attacker, changes: dict[str, Any], why: str
) -> None:
    request = {"dag_id": "shop", "from_date": "2026-01-01", "to_date": "2026-01-02"}

    told = await attacker.start("AirflowBackfill", {**request, **changes}, {})

    assert told.startswith("ERROR ")
    assert why in told


def test_a_worker_knows_again_what_one_with_its_keys_has_read(target: Target) -> None:
    ours = PlanSigner(Keyring(target.box.data / "keys"))
    answer = DagAnswer(
        dag_id="shop", plan=plan_of(sell={"delay": 1.0}), pools={"p": PoolFacts(3)}
    )
    digest = digest_of("shop", "r", answer)
    voucher = ours.voucher(digest)

    assert ours.is_known(PlanClaim(digest, voucher))
    assert not ours.is_known(PlanClaim(digest, None))
    assert not ours.is_known(PlanClaim("", voucher))
    for other in (
        digest_of("shop", "s", answer),
        digest_of("shops", "r", answer),
        digest_of("shop", "r", DagAnswer(dag_id="shop", plan=plan_of(pwn={}))),
    ):
        assert not ours.is_known(PlanClaim(other, voucher))
    theirs = target.marks.parent / "other.key"
    ensure_key(theirs)
    assert not PlanSigner(Keyring(theirs)).is_known(PlanClaim(digest, voucher))
