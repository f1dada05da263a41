"""The machine and Airflow's own scheduler take the same decisions, step by step.

A difference is reported by seed and first differing event. Cases that once differed are in ``regressions.jsonl``.
"""

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parity.client import OracleClient, oracle
from tests.parity.comparison import compare, compare_many

pytestmark = [pytest.mark.needs_airflow, pytest.mark.timeout(600)]

REGRESSIONS = Path(__file__).parent / "regressions.jsonl"
FRESH = 300


def task(task_id: str, *up: str, **fields: Any) -> dict[str, Any]:
    """Write a task of a spec."""
    return {
        "id": task_id,
        "kind": "task",
        "rule": "all_success",
        "retries": 0,
        "retry_delay": 30,
        "up": list(up),
        **fields,
    }


def ends(**ends: str) -> dict[str, list[dict[str, Any]]]:
    """Script one execution a task: ``a="fail 3"`` fails after 3 seconds."""
    script = {}
    for task_id, end in ends.items():
        do, _, dur = end.partition(" ")
        script[task_id] = [{"do": do, "dur": float(dur or 1)}]
    return script


WORKED_CASES: dict[str, dict[str, Any]] = {
    "a failure seen before a skip fails the heir": {
        "nodes": [task("a"), task("b"), task("c", "a", "b")],
        "script": ends(a="fail 1", b="skip 2"),
    },
    "a skip seen before a failure skips the heir": {
        "nodes": [task("a"), task("b"), task("c", "a", "b")],
        "script": ends(a="fail 3", b="skip 2"),
    },
    "a late branch stops a child already running": {
        "nodes": [
            task("a"),
            task("b", kind="branch"),
            task("c", "a", "b", rule="one_success"),
            task("d", "b"),
        ],
        "script": {
            "b": [{"do": "branch", "follow": ["d"], "dur": 3}],
            "c": [{"dur": 10}],
        },
    },
    "a late branch that stops the last child fails the run": {
        "nodes": [
            task("a"),
            task("b", kind="branch"),
            task("c", "a", "b", rule="one_success"),
        ],
        "script": {"b": [{"do": "branch", "dur": 3}], "c": [{"dur": 10}]},
    },
    "a late branch that stops the last child and a mapping over it does not": {
        "nodes": [
            task("b", kind="branch"),
            task("c", "b", rule="always"),
            task("m", "c", map={"x": {"xcom": "c"}}),
            task("n", "m", map={"x": {"xcom": "c"}}),
        ],
        "script": {"b": [{"do": "branch"}], "c": [{"dur": 10, "value": [1]}]},
    },
    "a run ends with those it knew before an expansion": {
        "nodes": [
            {
                "group": "g",
                "up": [],
                "map": {"x": {"lit": 2}},
                "nodes": [
                    task("b"),
                    task("c", "b", rule="none_failed_min_one_success"),
                ],
            }
        ],
        "script": {"b[0]": [{"do": "skip"}]},
    },
    "a failure among those just expanded fails no run that ends at once": {
        "nodes": [
            {
                "group": "g",
                "up": [],
                "map": {"x": {"lit": 3}},
                "nodes": [task("b"), task("c", "b", rule="one_success")],
            }
        ],
        "script": {
            "b[0]": [{"do": "skip"}],
            "b[1]": [{"do": "fail"}],
            "b[2]": [{"dur": 2}],
        },
    },
    "a branch in a mapped group skips nothing": {
        "nodes": [
            {
                "group": "g",
                "up": [],
                "map": {"x": {"lit": 2}},
                "nodes": [
                    task("b", kind="branch"),
                    task("yes", "b"),
                    task("no", "b"),
                ],
            }
        ],
        "script": {"b": [{"do": "branch", "follow": ["yes"]}]},
    },
    "mapping over a plain task in a mapped group": {
        "nodes": [
            {
                "group": "g",
                "up": [],
                "map": {"x": {"lit": 2}},
                "nodes": [task("v")],
            },
            task("m", "v", map={"x": {"xcom": "v"}}),
        ],
        "script": {"v": [{"value": [1, 2]}]},
    },
    "a mapping source that failed overrides the trigger rule": {
        "nodes": [
            task("a"),
            task("c"),
            task("m", "a", "c", rule="all_failed", map={"x": {"xcom": "a"}}),
        ],
        "script": ends(a="fail"),
    },
    "fail_fast overwrites what was skipped": {
        "fail_fast": True,
        "nodes": [task("a"), task("b"), task("c"), task("d", "c")],
        "script": ends(a="fail 2", c="skip 1", b="success 9"),
    },
    "a run out of time skips teardowns, too": {
        "dagrun_timeout": 5,
        "nodes": [
            task("s", setup=True),
            task("a", "s"),
            task("t", "a", "s", teardown=True, rule="all_done_setup_success"),
        ],
        "script": ends(a="success 20"),
    },
    "upstreams that can never be met are a deadlock": {
        "nodes": [
            task("n", map={"x": {"lit": 3}}),
            task("c", "n", rule="all_skipped"),
            task("d", "c", rule="all_failed"),
        ],
        "script": {"n[0]": [{"do": "skip"}], "n[1]": [{"do": "fail", "dur": 2}]},
    },
    "backoff, jitter and a longest delay": {
        "nodes": [
            task("a", retries=4, backoff=2.0),
            task("b", retries=4, backoff=3.0, max_delay=100),
        ],
        "script": {"a": [{"do": "fail"}], "b": [{"do": "fail"}]},
    },
    "priorities and max_active_tasks": {
        "max_active_tasks": 2,
        "options": {"limits": True},
        "nodes": [
            task("a", priority=5, weight="absolute"),
            task("b", priority=3, weight="absolute"),
            task("c", priority=9, weight="absolute"),
            task("d", priority=2),
            task("e", "d", priority=5),
            task("m", priority=8, weight="absolute", map={"x": {"lit": 3}}),
        ],
        "script": ends(a="success 2", c="success 3", m="success 2", d="fail 1"),
    },
    "deferred instances hold no slot of the run": {
        "max_active_tasks": 1,
        "options": {"limits": True},
        "nodes": [task("a", priority=3), task("b", priority=2), task("c")],
        "script": {"a": [{"do": "defer", "delay": 3}, {"dur": 2}]},
    },
    "of equals the first by name goes first": {
        "max_active_tasks": 1,
        "options": {"limits": True},
        "nodes": [task(task_id, weight="absolute") for task_id in "cabd"],
        "script": {},
    },
    "a limited instance that is blocked for good": {
        "options": {"limits": True},
        "nodes": [
            task("n", map={"x": {"lit": 2}}),
            task("c", "n", rule="all_skipped", max_tis=1),
        ],
        "script": {"n": [{"do": "remove"}]},
    },
    "a task whose dates exclude the run blocks its heirs": {
        "nodes": [
            task("late", start=3),
            task("over", end=-3),
            task("a", "late"),
            task("b", "over", rule="one_done"),
            task("c", rule="all_done"),
        ],
        "script": {},
    },
    "a mapping over a task that is left out": {
        "nodes": [
            task("late", start=3),
            task("m", "late", rule="always"),
            {
                "group": "g",
                "up": [],
                "map": {"x": {"xcom": "late"}},
                "nodes": [task("a"), task("b", "a", rule="one_success")],
            },
        ],
        "script": {},
    },
    "a run all of whose tasks are left out": {
        "end": -3,
        "nodes": [task("a"), task("b", "a")],
        "script": {},
    },
    "groups within groups": {
        "nodes": [
            task("v"),
            {
                "group": "g",
                "up": [],
                "map": {"x": {"xcom": "v"}},
                "nodes": [
                    task("a"),
                    {
                        "group": "h",
                        "up": [],
                        "map": {"y": {"lit": 3}},
                        "nodes": [task("b", "a"), task("c", "b", rule="one_failed")],
                    },
                    task("d", "c", rule="all_done"),
                ],
            },
            task("e", "d"),
        ],
        "script": {
            "v": [{"value": [1, 2]}],
            "b[4]": [{"do": "fail"}],
            "a[0]": [{"dur": 3}],
        },
    },
    "fail_fast spares teardowns": {
        "fail_fast": True,
        "nodes": [
            task("s", setup=True),
            task("a", "s"),
            task("b", "s"),
            task("t", "a", "s", teardown=True, rule="all_done_setup_success"),
            task("u", "t"),
        ],
        "script": ends(a="fail 2", b="success 9"),
    },
    "those held back count among the few that are looked at": {
        "max_active_tasks": 15,
        "options": {"limits": True},
        "nodes": [task("m", priority=5, max_tis=1, map={"x": {"lit": 17}}), task("n")],
        "script": {},
    },
    "whoever may have sixteen at once is looked at in full": {
        "max_active_tasks": 16,
        "options": {"limits": True},
        "nodes": [task("m", priority=5, max_tis=1, map={"x": {"lit": 19}}), task("n")],
        "script": {},
    },
    "a task's own limit holds back its instances only": {
        "options": {"limits": True},
        "nodes": [
            task("m", priority=5, max_tis=2, map={"x": {"lit": 5}}),
            task("a"),
        ],
        "script": {"m[0]": [{"dur": 3}], "m[1]": [{"do": "defer"}, {}]},
    },
}


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OracleClient]:
    with oracle(tmp_path_factory.mktemp("airflow")) as client:
        yield client


@pytest.mark.long
@pytest.mark.timeout(3600)  # about 90 s on two idle cores
def test_random_dags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fresh seeds every time: what differs is repeated by ``make parity N=300 SEED=...``."""
    seed = random.SystemRandom().randrange(10**9)
    with capsys.disabled():
        print(f"\n{FRESH} random DAGs, SEED={seed}")

    found = list(compare_many(tmp_path, seed, FRESH, oracles=os.cpu_count() or 1))

    differences = {c.spec["dag_id"]: c.difference for c in found if c.difference}
    assert differences == {}, f"SEED={seed}"
    assert sum(c.is_same for c in found) == FRESH


@pytest.mark.parametrize("line", REGRESSIONS.read_text().splitlines())
def test_what_once_differed(airflow: OracleClient, line: str) -> None:
    assert compare(airflow, json.loads(line)["spec"]).is_same


@pytest.mark.parametrize("name", WORKED_CASES)
def test_worked_case(airflow: OracleClient, name: str) -> None:
    found = compare(airflow, {"dag_id": "worked", **WORKED_CASES[name]})

    assert found.is_same, found
