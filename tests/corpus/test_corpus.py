"""DAGs nobody here wrote, with the outcome Airflow gave them.

The cases are the examples that Airflow 3.3.2 and its standard provider ship, each run on a real
Airflow 3.3.2 (scheduler, LocalExecutor, PostgreSQL). ``manifest.jsonl`` says how each was
run, ``expected.jsonl`` what came out; what differs from run to run there is masked.
"""

import json
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.box import RunningBox, running_box
from tests.corpus.comparison import difference
from tests.corpus.folder import SOURCES, collect

pytestmark = pytest.mark.long

HERE = Path(__file__).parent
AT_ONCE = 4
SETTINGS = {
    "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "5",
    "AIRFLOW__CORE__ALLOWED_DESERIALIZATION_CLASSES": "airflow.* include.*",
}

Row = dict[str, Any]


def _rows(name: str) -> dict[str, Row]:
    lines = (HERE / name).read_text().splitlines()
    return {row["case_id"]: row for row in map(json.loads, lines)}


CASES = _rows("manifest.jsonl")
EXPECTED = _rows("expected.jsonl")

FAILING = {
    "core_examples:asset_alias_example_alias_consumer": "the assets of an alias",
    "core_examples:asset_alias_example_alias_consumer_with_no_taskflow": (
        "the assets of an alias"
    ),
}
"""Case → the feature that is not built yet and that only shows when a task asks for it."""

NOT_STARTED = {
    "seq:assets:produces_1_only",
    "seq:assets:produces_1_then_2",
    "seq:assets:alias",
    "seq:assets:decorator",
}
"""Sequences of runs that asset events start: there are no schedules yet."""

COMPARED = sorted(CASES.keys() - FAILING.keys() - NOT_STARTED)

Answers = dict[str, Future[Row]]


@pytest.fixture(scope="module")
def corpus_box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBox]:
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "dags").mkdir()
    collect(folder / "dags")
    plugins = (folder / "dags" / "plugins").rename(folder / "plugins")
    configuration = folder / "appliance.yaml"
    configuration.write_text("worker:\n  parallelism: 8\n")
    environ = {
        **SETTINGS,
        "APPLIANCE_CONF": str(configuration),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(plugins),
    }
    with running_box(dags=folder / "dags", folder=folder, environ=environ) as box:
        yield box


@pytest.fixture(scope="module")
def answers(
    corpus_box: RunningBox, request: pytest.FixtureRequest
) -> Iterator[Answers]:
    """Run the cases that were asked for, some at a time: most of them sleep."""
    specs = [getattr(item, "callspec", None) for item in request.session.items]
    ids = {spec.params.get("case_id") for spec in specs if spec}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {
            case_id: pool.submit(_run, corpus_box, CASES[case_id])
            for case_id in COMPARED
            if case_id in ids
        }


@pytest.mark.needs_server
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case_id", COMPARED)
def test_case_ends_as_on_airflow(answers: Answers, case_id: str) -> None:
    got = answers[case_id].result()

    assert difference(EXPECTED[case_id], got) is None


@pytest.mark.needs_server
@pytest.mark.timeout(180)
@pytest.mark.parametrize("case_id", FAILING)
def test_task_that_needs_a_later_feature_fails_by_its_name(
    corpus_box: RunningBox, case_id: str
) -> None:
    dag_id = CASES[case_id]["dag_id"]

    run = corpus_box.submit(dag_id, "--wait", "-o", "json", timeout_s=120)

    assert run.code == 1
    log = corpus_box.appliance("logs", dag_id, run.json["run_id"]).stdout
    assert FAILING[case_id] in log
    assert "not supported yet by this appliance" in log


def test_no_case_is_left_out() -> None:
    kinds = {case_id: case["kind"] for case_id, case in CASES.items()}

    assert CASES.keys() == EXPECTED.keys()
    assert {case_id for case_id in kinds if kinds[case_id] != "dag"} == NOT_STARTED
    assert {CASES[case_id]["bundle"] for case_id in COMPARED} == SOURCES.keys()


def _run(box: RunningBox, case: Row) -> Row:
    words = [case["dag_id"], "--logical-date", case["logical_date"], "-o", "json"]
    if case["conf"]:
        words += ["--conf", json.dumps(case["conf"])]
    limit_s = float(case["timeout"])

    limits = ("--timeout", str(limit_s))

    if answers := case.get("hitl"):
        run_id = box.submit(*words, timeout_s=limit_s).json["run_id"]
        _respond(box, (case["dag_id"], run_id), answers)
        wait = ("runs", "wait", case["dag_id"], run_id, "-o", "json")
        run = box.appliance(*wait, *limits, timeout_s=limit_s + 60)
    else:
        run = box.submit(*words, "--wait", *limits, timeout_s=limit_s + 60)

    if run.code not in (0, 1):
        state = "trigger_rejected" if run.code == 2 else f"exit {run.code}"
        return {"run_state": state, "detail": run.stderr, "tis": [], "xcoms": []}
    ended = run.json
    xcoms = box.appliance("xcoms", case["dag_id"], ended["run_id"], "-o", "json")
    return {"run_state": ended["state"], "tis": ended["tasks"], "xcoms": xcoms.json}


def _respond(box: RunningBox, run: tuple[str, str], answers: Row) -> None:
    """Answer what the run asks, as soon as it does; some asks only its administrator."""
    waiting = {
        (task_id, user) for task_id in answers for user in ("Anonymous", "admin")
    }
    while waiting:
        for task_id, user in sorted(waiting):
            chosen = answers[task_id]["chosen_options"]
            words = [word for option in chosen for word in ("--choose", option)]
            params = json.dumps(answers[task_id].get("params_input", {}))
            words += ["--params", params, "--user", user]
            done = box.appliance("respond", *run, task_id, *words)
            if "has ended" in done.stderr:
                return
            if done.code == 0 or "may not answer" in done.stderr:
                waiting.remove((task_id, user))
            if done.code == 0:
                waiting.discard((task_id, "admin"))
