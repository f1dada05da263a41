"""Activities asked for by a workflow of somebody else's, with inputs no run gives."""

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from appliance.dagrun.ids import shown
from tests.attacks.attacker import WAITS, Attacker, Order, a_try
from tests.attacks.conftest import CANARY, Target

pytestmark = [pytest.mark.needs_server, pytest.mark.timeout(120)]

_PATIENCE_S = 40.0
_POLL_S = 0.1
RUN = "dag-shop-manual__1"
TRY, AGAIN, WAIT = "run_airflow_task", "reattach_airflow_task", "run_trigger"
IDS = {
    "": "it is empty",
    "..": "another folder",
    "../../../keys": "another folder",
    "a/../b": "another folder",
    "/etc": "another folder",
    "a\0b": "cannot be printed",
    "\ud800": "cannot be printed",
    "a\nb": "cannot be printed",
    "x" * 300: "at most 250",
}


@pytest.mark.parametrize(
    "file",
    [
        "{evil}",
        "../outside/evil.py",
        "ignored/../../outside/evil.py",
        "ignored/evil.py",
        "./ignored/evil.py",
        "/proc/self/environ",
        "..",
        ".",
        "",
        "evil\0.py",
        "\ud800.py",
        "x" * 5000,
        "y" * 300,
    ],
    ids=lambda file: ascii(file[:30]),
)
async def test_a_file_outside_the_dag_folder_is_refused_by_name(
    attacker: Attacker, target: Target, file: str
) -> None:
    named = file.format(evil=target.evil)
    evil = {"run_file": named, "run_dag_id": "evil", "task_id": "pwn"}
    callback = {"is_failure": True, "reason": "task_failure", "end_date": ""}
    ran, called, waited = await attacker.order(
        Order(TRY, a_try(RUN, **evil)),
        Order(TRY, a_try(RUN, **evil, callback=callback)),
        Order(WAIT, a_try(RUN, **evil, trigger={}), WAITS),
        name=RUN,
    )

    for told in (ran, called, waited):
        assert "no file of the DAG folder" in told
        assert shown(named[:100]) in told.replace("\\\\", "\\")


async def test_files_of_the_dag_folder_and_links_that_airflow_follows_are_opened(
    attacker: Attacker,
) -> None:
    own, linked = await attacker.order(
        Order(TRY, a_try(RUN)),
        Order(TRY, a_try(RUN, run_file="linked.py", run_dag_id="linked")),
        name=RUN,
    )

    assert json.loads(own.removeprefix("OK "))["state"] == "success"
    assert 'no longer has the task "sell"' in linked


@pytest.mark.parametrize("name", IDS, ids=lambda name: ascii(name[:12]))
async def test_an_id_that_leads_to_another_folder_is_refused(
    attacker: Attacker, target: Target, name: str
) -> None:
    before = _tree(target.box.data)
    fields = ("run_dag_id", "run_run_id", "task_id")

    answers = await attacker.order(
        *(Order(TRY, a_try(RUN, **{field: name})) for field in fields),
        *(Order(AGAIN, a_try(RUN, **{field: name})) for field in fields),
        *(Order(WAIT, a_try(RUN, **{field: name}), WAITS) for field in fields),
        name=RUN,
    )

    assert [answer for answer in answers if IDS[name] not in answer] == []
    assert _tree(target.box.data) == before


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"ti_id": "../../x"}, "no id of a try"),
        ({"ti_id": ""}, "no id of a try"),
        ({"map_index": -7}, "a number of the try"),
        ({"try_number": 1 << 70}, "a number of the try"),
        ({"xcom_budget_bytes": 1 << 40}, "no run has room"),
        ({"run_workflow_id": "dag-other-run"}, "belongs to 'dag-other-run'"),
        ({"run_workflow_id": ""}, "belongs to ''"),
        ({"run_is_sealed": True, "run_dag_id": "waiting"}, "opened for no other run"),
        ({"map_index": "1"}, "cannot be read"),
        ({"run": None}, "cannot be read"),
        ({"callback": {"is_failure": 1}}, "cannot be read"),
    ],
    ids=str,
)
async def test_an_input_that_no_run_gives_is_refused(
    attacker: Attacker, changes: dict[str, Any], why: str
) -> None:
    answers = await attacker.order(
        Order(TRY, a_try(RUN, **changes)),
        Order(AGAIN, a_try(RUN, **changes)),
        Order(WAIT, a_try(RUN, **changes), WAITS),
        name=RUN,
    )

    assert [answer for answer in answers if why not in answer] == []


@pytest.mark.parametrize(
    ("resume", "why"),
    [
        ({"next_method": "wipe", "kwargs": {"path": "x"}}, "goes on with path"),
        ({"next_method": "wipe", "sealed": "0123:AAAA"}, "which is not in"),
        ({"next_method": "wipe", "sealed": {"next_kwargs": {}}}, "no sealed text"),
        ({"next_method": "_wipe", "kwargs": {"event": 1}}, "'_wipe', unsealed"),
        ({"next_method": "a.b", "kwargs": {"event": 1}}, "goes on by 'a.b'"),
        ({"next_method": "__fail__", "kwargs": {"x": 1}}, "goes on with x"),
    ],
    ids=str,
)
async def test_a_try_goes_on_only_as_a_worker_said(
    attacker: Attacker, resume: dict[str, Any], why: str
) -> None:
    waiting = {"run_dag_id": "waiting", "task_id": "wait"}
    (told,) = await attacker.order(
        Order(TRY, a_try(RUN, **waiting, resume=resume)), name=RUN
    )

    assert f"refused: wait {why}" in told or why in told


@pytest.mark.parametrize("classpath", ["subprocess.Popen", "os.system", "antigravity"])
async def test_no_class_is_imported_that_no_worker_named(
    attacker: Attacker, classpath: str
) -> None:
    trigger = {"classpath": classpath, "sealed": None}
    (told,) = await attacker.order(
        Order(WAIT, a_try(RUN, trigger=trigger), WAITS), name=RUN
    )

    assert "refused: sell was given what is no sealed text" in told


async def test_what_a_worker_sealed_opens_for_nothing_else(
    attacker: Attacker, target: Target
) -> None:
    sealed, run = await _parked(attacker, target)
    await run.terminate()
    same = {"run_dag_id": "waiting", "run_run_id": "r", "task_id": "wait"}
    file = "airflow.providers.standard.triggers.file.FileTrigger"
    resumptions = [
        {"next_method": "wipe", "sealed": sealed},
        {"next_method": "go_on", "sealed": sealed, "kwargs": {"word": "x"}},
    ]
    answers = await attacker.order(
        *(Order(TRY, a_try(run.id, **same, resume=one)) for one in resumptions),
        Order(
            WAIT,
            a_try(run.id, **same, trigger={"classpath": "os.system", "sealed": sealed}),
            WAITS,
        ),
        Order(
            WAIT,
            a_try(
                run.id,
                **{**same, "map_index": 1},
                trigger={"classpath": file, "sealed": sealed},
            ),
            WAITS,
        ),
        Order(
            TRY,
            a_try(
                run.id,
                **same,
                resume={
                    "next_method": "go_on",
                    "sealed": sealed,
                    "kwargs": {"event": 1},
                },
            ),
        ),
        name=run.id,
    )

    assert "was given what was sealed for something else" in answers[0]
    assert "goes on with word" in answers[1]
    assert "was given what was sealed for something else" in answers[2]
    assert "was given what was sealed for something else" in answers[3]
    assert json.loads(answers[4].removeprefix("OK "))["state"] == "success"


async def test_a_reference_leads_to_no_file_outside_the_store(
    attacker: Attacker, target: Target
) -> None:
    outside = target.evil.parent
    (outside / "key.json").write_text(json.dumps({"key": CANARY}))
    store = target.box.data / "xcom"
    inside = store / "shop" / "r" / "k.json"
    inside.parent.mkdir(parents=True, exist_ok=True)
    inside.write_text("41")
    (inside.parent / "link").symlink_to(outside)
    references = [
        f"file://{outside}/key.json",
        f"{outside}/key.json",
        f"file://{store}/../../outside/key.json",
        f"file://{store}/shop/r/../../../../outside/key.json",
        f"file://{store}/shop/r/link/key.json",
        f"file://{inside}",
    ]
    rows = [
        {"task_id": "a", "map_index": -1, "key": "k", "value": value}
        for value in references
    ]

    (told,) = await attacker.order(Order("resolve_xcoms", {"rows": rows}))

    values = [row["value"] for row in json.loads(json.loads(told[3:])["text"])]
    assert values == [*references[:-1], 41]


@pytest.mark.parametrize(
    "asked",
    [
        {"dag_id": "evil", "dag_file": "{evil}"},
        {"dag_id": "evil", "dag_file": "ignored/evil.py"},
        {"dag_id": "evil", "dag_file": "\0"},
        {"dag_id": "\ud800"},
        {"dag_id": "shop", "run_id": "../../x"},
        {"dag_id": "shop", "run_type": "no such type"},
        {"dag_id": "shop", "logical_date": "0001-01-01T00:00:00+23:59"},
    ],
    ids=ascii,
)
async def test_a_dag_that_cannot_be_run_so_is_refused_in_an_answer(
    attacker: Attacker, target: Target, asked: dict[str, Any]
) -> None:
    file = asked.get("dag_file")
    given = asked | ({"dag_file": file.format(evil=target.evil)} if file else {})

    (told,) = await attacker.order(Order("read_dag", given))

    assert json.loads(told.removeprefix("OK "))["refusal"]


@pytest.mark.parametrize(
    "timetable",
    [
        {"__type": "os.system", "__var": "touch {marks}/timetable"},
        {"__type": "airflow.timetables.base.DagRunInfo", "__var": {}},
        {"__type": "airflow.timetables.trigger.time.sleep", "__var": 1},
        {"__type": "airflow.timetables..os.system", "__var": "true"},
        {},
    ],
    ids=str,
)
async def test_a_timetable_is_one_of_airflows_or_of_a_plugin(
    attacker: Attacker, target: Target, timetable: dict[str, Any]
) -> None:
    text = json.dumps(timetable).replace("{marks}", str(target.marks))
    question = {"ask": "due", "timetable": json.loads(text), "now": "2026-01-01"}

    (told,) = await attacker.order(Order("ask_timetables", [question]))

    assert told.startswith("ERROR") or json.loads(told[3:])[0]["error"]


async def test_the_result_of_a_try_of_another_run_tells_no_secret(
    attacker: Attacker,
) -> None:
    known = ["find_holders", "list_dags", "rebuild", "find_lost_runs"]
    answers = await attacker.order(
        Order("run_airflow_task", a_try(RUN)),
        *(Order(one, f"airflow-dag-{uuid.uuid4()}") for one in known),
        Order("rebuild", "variables-airflow-tasks"),
        name=RUN,
    )

    assert CANARY not in "".join(answers)


async def _parked(
    attacker: Attacker, target: Target
) -> tuple[str, WorkflowHandle[Any, Any]]:
    """Run ``waiting`` until it waits; return what its worker sealed, and the run."""
    await asyncio.to_thread(target.box.submit, "waiting", "--run-id", "r")
    handle = attacker.client.get_workflow_handle("dag-waiting-r")
    async with asyncio.timeout(_PATIENCE_S):
        while True:
            async for event in handle.fetch_history_events():
                told = event.activity_task_completed_event_attributes
                for payload in told.result.payloads:
                    if deferral := json.loads(payload.data)["deferral"]:
                        return deferral["sealed"], handle
            await asyncio.sleep(_POLL_S)


def _tree(folder: Path) -> set[str]:
    """Return what is in the data folder, but for the server's and the supervisor's own."""
    kept = ("logs", "xcom", "keys")
    return {str(path) for name in kept for path in (folder / name).rglob("*")}
