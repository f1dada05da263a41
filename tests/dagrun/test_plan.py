"""Plans: read, written and refused."""

import json
from typing import Any

import pytest

from appliance.dagrun.expansion import Concat, TaskOutput, Zip
from appliance.dagrun.plan import Plan, TaskSpec, WeightRule
from appliance.dagrun.ready_queue import total_weights
from appliance.dagrun.rules import TriggerRule
from tests.dagrun.builders import plan

RICH: dict[str, Any] = {
    "dag_id": "rich",
    "fail_fast": True,
    "max_active_tasks": 4,
    "dagrun_timeout": 90.0,
    "start": 1700000000.0,
    "end": 1900000000.0,
    "tasks": {
        "a": {"down": ["b", "m"], "retries": 2, "delay": 1.0, "backoff": 2.0},
        "b": {"rule": "all_done", "down": ["m"], "weight": "upstream", "prio": 3},
        "m": {
            "map": [3, {"of": "a"}, {"zip": [{"of": "b"}, 2], "fill": True}],
            "max_run": 2,
        },
        "e": {"empty": True, "groups": ["g"], "start": 1.0, "end": 2.0, "total": 7},
    },
    "groups": {"g": {"map": [{"concat": [{"of": "a"}, {"of": "b"}]}]}},
}


def test_a_plan_is_read() -> None:
    read = Plan.from_json(RICH)

    assert read.tasks["b"] == TaskSpec(
        "b",
        rule=TriggerRule.ALL_DONE,
        down=("m",),
        priority_weight=3,
        weight_rule=WeightRule.UPSTREAM,
    )
    assert read.tasks["m"].maps == (
        3,
        TaskOutput("a"),
        Zip((TaskOutput("b"), 2), is_filled=True),
    )
    assert read.groups == {"g": (Concat((TaskOutput("a"), TaskOutput("b"))),)}
    assert read.sources_of(read.tasks["e"]) == {"a", "b"}


def test_what_is_written_is_what_was_read() -> None:
    assert json.loads(json.dumps(Plan.from_json(RICH).to_json())) == RICH


def test_keys_of_another_version_are_ignored() -> None:
    read = Plan.from_json({"dag_id": "d", "tasks": {"a": {"colour": "red"}}, "x": 1})

    assert read == plan("a")


@pytest.mark.parametrize(
    ("tasks", "groups", "complaint"),
    [
        ({"a": {"down": ["b"]}}, {}, 'task "a" refers to task "b"'),
        ({"a": {"map": [{"of": "b"}]}}, {}, 'task "a" refers to task "b"'),
        ({"a": {"groups": ["g"]}}, {}, 'task "a" refers to group "g"'),
        ({}, {"g": {"map": [{"of": "b"}]}}, 'task group "g" refers to task "b"'),
        ({"a": {"rule": "most"}}, {}, "task \"a\": rule: 'most' is not a valid"),
    ],
)
def test_unknown_names_are_refused(
    tasks: dict[str, Any], groups: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        Plan.from_json({"dag_id": "d", "tasks": tasks, "groups": groups})


def test_a_cycle_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r'DAG "d": a cycle of tasks: .*b -> c -> b'):
        plan("a >> b >> c >> b")


def test_tasks_are_left_out_of_runs_their_dates_exclude() -> None:
    dated = plan(
        "a, b, c, d",
        dag={"start": 0.0, "end": 864000.0},
        b={"start": 172800.0},
        c={"end": 0.0},
        d={"start": 86400.0, "end": 86400.0},
    )
    day = "1970-01-{:02}T02:00:00+02:00".format

    assert dated.left_out(day(1)) == {"b", "d"}
    assert dated.left_out(day(2)) == {"b", "c"}
    assert dated.left_out(day(4)) == {"c", "d"}
    assert dated.left_out(day(12)) == {"a", "b", "c", "d"}
    assert dated.left_out(day(1), is_backfill=True) == set()
    assert dated.left_out(None) == set()


def test_a_strategy_of_ones_own_overrules_the_rule() -> None:
    weighted = plan("a >> b", a={"prio": 3, "total": 9}, b={"prio": 5})

    assert total_weights(weighted) == {"a": 9, "b": 5}


def test_priority_weights_add_up_by_rule() -> None:
    weighted = plan(
        "a >> b >> d, a >> c >> d",
        a={"prio": 1},
        b={"prio": 10, "weight": "upstream"},
        c={"prio": 100, "weight": "absolute"},
        d={"prio": 1000, "weight": "upstream"},
    )

    assert total_weights(weighted) == {"a": 1111, "b": 11, "c": 100, "d": 1111}
