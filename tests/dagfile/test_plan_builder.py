"""The plan of a serialized DAG, key by key."""

from typing import Any

from appliance.dagfile.plan_builder import project


def serialized(*tasks: dict[str, Any], **dag: Any) -> dict[str, Any]:
    """Wrap operators' fields as Airflow's serialization does."""
    children = {task["task_id"]: ("operator", task["task_id"]) for task in tasks}
    return {
        "dag": {
            "dag_id": "d",
            "task_group": {"children": children},
            "tasks": [{"__type": "operator", "__var": task} for task in tasks],
            **dag,
        }
    }


def planned(task: dict[str, Any], **dag: Any) -> Any:
    """Return the one task's row of the plan."""
    plan = project(serialized({"task_id": "t", **task}, **dag))
    return plan["tasks"]["t"]


def test_defaults_are_left_out() -> None:
    task = {"retries": 0, "retry_delay": 300.0, "pool": "default_pool", "pool_slots": 1}
    assert planned(task) == {}


def test_what_differs_is_kept_under_its_short_key() -> None:
    task = {
        "retries": 2,
        "retry_delay": 9.0,
        "trigger_rule": "all_done",
        "is_teardown": True,
        "_on_failure_fail_dagrun": True,
        "_can_skip_downstream": True,
        "downstream_task_ids": ["b", "a"],
    }
    assert planned(task) == {
        "retries": 2,
        "delay": 9.0,
        "rule": "all_done",
        "teardown": True,
        "fail_dagrun": True,
        "skipmixin": True,
        "down": ["a", "b"],
    }


def test_a_dag_keeps_its_limits() -> None:
    plan = project(serialized(dagrun_timeout=180.0, max_active_tasks=4, fail_fast=True))
    assert plan == {
        "dag_id": "d",
        "dagrun_timeout": 180.0,
        "max_active_tasks": 4,
        "fail_fast": True,
        "tasks": {},
    }


def test_dates_of_dag_and_tasks_are_kept() -> None:
    plan = project(serialized({"task_id": "t", "end_date": 3.0}, start_date=1.0))
    assert plan["start"] == 1.0
    assert plan["tasks"]["t"] == {"end": 3.0}


def test_what_a_custom_strategy_weighs_replaces_its_name() -> None:
    task = {"task_id": "t", "weight_rule": "mine.Strategy", "priority_weight": 2}
    plan = project(serialized(task), {"t": 40})
    assert plan["tasks"]["t"] == {"prio": 2, "total": 40}


def test_an_empty_operator_with_something_to_tell_is_not_empty() -> None:
    assert planned({"_is_empty": True}) == {"empty": True}
    assert planned({"_is_empty": True, "outlets": [{"__var": {}}]}) == {}
    assert planned({"_is_empty": True, "has_on_success_callback": True}) == {}


def test_a_mapped_task_takes_its_fields_from_partial() -> None:
    task = {
        "_is_mapped": True,
        "partial_kwargs": {
            "retry_delay": {"__type": "timedelta", "__var": 4.0},
            "retry_exponential_backoff": True,
            "retries": 1,
        },
        "expand_input": {
            "type": "dict-of-lists",
            "value": {"__type": "dict", "__var": {"a": [1, 2]}},
        },
    }
    assert planned(task) == {"delay": 4.0, "backoff": 2.0, "retries": 1, "map": [2]}


def xcom(task_id: str) -> dict[str, Any]:
    return {"__type": "xcomref", "__var": {"task_id": task_id, "key": "return_value"}}


def test_lengths_of_all_mapping_arguments_are_factors() -> None:
    plain = xcom("p")["__var"]
    arguments = {
        "literal": [1, 2, 3],
        "tuple": {"__type": "tuple", "__var": [1, 2]},
        "dict": {"__type": "dict", "__var": {"a": 1}},
        "upstream": xcom("u"),
        "mapped": {
            "__type": "xcomref",
            "__var": {"type": "map", "arg": plain, "callables": ["str"]},
        },
        "zipped": {
            "__type": "xcomref",
            "__var": {"type": "zip", "args": [plain, plain], "fillvalue": None},
        },
        "joined": {
            "__type": "xcomref",
            "__var": {"type": "concat", "args": [plain, plain]},
        },
    }
    task = {
        "_is_mapped": True,
        "_expand_input_attr": "op_kwargs_expand_input",
        "op_kwargs_expand_input": {"type": "dict-of-lists", "value": arguments},
    }
    of = {"of": "p"}
    assert planned(task)["map"] == [
        3,
        2,
        1,
        {"of": "u"},
        of,
        {"zip": [of, of], "fill": True},
        {"concat": [of, of]},
    ]


def test_expand_kwargs_has_one_length() -> None:
    for value, length in (([{"a": 1}, {"a": 2}], 2), (xcom("u"), {"of": "u"})):
        task = {
            "_is_mapped": True,
            "expand_input": {"type": "list-of-dicts", "value": value},
        }
        assert planned(task)["map"] == [length]


def test_tasks_know_their_mapped_groups_outermost_first() -> None:
    mapped = {"type": "dict-of-lists", "value": {"x": [1, 2]}}
    inner = {"children": {"t": ("operator", "t")}}
    plain = {"children": {"g.p.i": ("taskgroup", {**inner, "is_mapped": True})}}
    plain["children"]["g.p.i"][1]["expand_input"] = {
        **mapped,
        "value": {"x": xcom("u")},
    }
    outer = {
        "children": {"g.p": ("taskgroup", plain)},
        "is_mapped": True,
        "expand_input": mapped,
    }
    plan = project(
        serialized(
            {"task_id": "t"}, task_group={"children": {"g": ("taskgroup", outer)}}
        )
    )
    assert plan["tasks"]["t"] == {"groups": ["g", "g.p.i"]}
    assert plan["groups"] == {"g": {"map": [2]}, "g.p.i": {"map": [{"of": "u"}]}}
