"""Builds the plan of a run from a serialized DAG.

Input is what ``DagSerialization.to_dict`` made, so nothing here imports Airflow. Values
that equal the defaults below are left out of the plan: it travels in every run's input.

Source: Airflow 3.3: ``serialization/serialized_objects.py``.
"""

from collections.abc import Mapping
from typing import Any

TASK_FIELDS = {
    "trigger_rule": "rule",
    "is_setup": "setup",
    "is_teardown": "teardown",
    "on_failure_fail_dagrun": "fail_dagrun",
    "_on_failure_fail_dagrun": "fail_dagrun",
    "retries": "retries",
    "retry_delay": "delay",
    "retry_exponential_backoff": "backoff",
    "max_retry_delay": "max_delay",
    "depends_on_past": "past",
    "wait_for_downstream": "wait_down",
    "ignore_first_depends_on_past": "ignore_first",
    "max_active_tis_per_dag": "max_dag",
    "max_active_tis_per_dagrun": "max_run",
    "pool": "pool",
    "pool_slots": "slots",
    "priority_weight": "prio",
    "weight_rule": "weight",
    "queue": "queue",
    "execution_timeout": "timeout",
    "start_date": "start",
    "end_date": "end",
    "_can_skip_downstream": "skipmixin",
    "has_retry_policy": "policy",
    "has_on_failure_callback": "on_failure",
    "has_on_retry_callback": "on_retry",
}
"""Serialized operator field → key of a plan's task."""

DEFAULTS = {
    "rule": "all_success",
    "retries": 0,
    "delay": 300.0,
    "backoff": 0,
    "pool": "default_pool",
    "slots": 1,
    "prio": 1,
    "weight": "downstream",
    "queue": "default",
}

DAG_FIELDS = {
    "dag_id": "dag_id",
    "fail_fast": "fail_fast",
    "max_active_tasks": "max_active_tasks",
    "max_active_runs": "max_active_runs",
    "dagrun_timeout": "dagrun_timeout",
    "catchup": "catchup",
    "start_date": "start",
    "end_date": "end",
    "has_on_success_callback": "has_on_success_callback",
    "has_on_failure_callback": "has_on_failure_callback",
}
"""Field of the serialized DAG → key of the plan."""

_ACTIVE_FIELDS = (
    "outlets",
    "inlets",
    "has_on_execute_callback",
    "has_on_success_callback",
)
"""An EmptyOperator with one of these is run by a worker like any other task."""


def project(
    serialized: Mapping[str, Any], weights: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """Return the plan of a serialized DAG, in the format ``dagrun.plan`` reads.

    Args:
        serialized: The DAG.
        weights: Task id → what a custom strategy weighs it.
    """
    dag = serialized["dag"]
    tasks = {
        fields["task_id"]: _task(fields, task_fields(serialized, fields))
        for fields in (wrapped["__var"] for wrapped in dag["tasks"])
    }
    for task_id, weight in (weights or {}).items():
        del tasks[task_id]["weight"]
        tasks[task_id]["total"] = weight
    groups: dict[str, Any] = {}
    _walk_groups(dag["task_group"], [], tasks, groups)
    plan = {
        short: _unwrap(dag[name])
        for name, short in DAG_FIELDS.items()
        if dag.get(name) not in (None, False)
    }
    plan["tasks"] = tasks
    if groups:
        plan["groups"] = groups
    return plan


def task_groups(serialized: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the task ids of each task group, those of the groups in it included."""
    found: dict[str, list[str]] = {}

    def walk(group: Mapping[str, Any]) -> list[str]:
        task_ids: list[str] = []
        for child_id, (kind, child) in group["children"].items():
            if kind == "taskgroup":
                found[child_id] = walk(child)
                task_ids += found[child_id]
            else:
                task_ids.append(child_id)
        return task_ids

    walk(serialized["dag"]["task_group"])
    return found


def task_fields(
    serialized: Mapping[str, Any], fields: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a task's fields with the DAG's client defaults and a mapped task's own."""
    defaults = serialized.get("client_defaults", {}).get("tasks", {})
    return {**defaults, **fields, **_unwrap(fields.get("partial_kwargs", {}))}


def _task(own: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    row = {
        short: _unwrap(fields[name])
        for name, short in TASK_FIELDS.items()
        if name in fields
    }
    if row.get("backoff") is True:  # only mapped tasks keep the boolean; True == 1
        row["backoff"] = 2.0
    row = {
        key: value
        for key, value in row.items()
        if value is not None and value is not False and DEFAULTS.get(key) != value
    }
    if fields.get("start_from_trigger") and not own.get("_is_mapped"):
        row.update(_trigger(fields, row.get("timeout")))
    if down := own.get("downstream_task_ids"):
        row["down"] = sorted(down)
    if own.get("_is_empty") and not any(fields.get(name) for name in _ACTIVE_FIELDS):
        row["empty"] = True
    if own.get("_is_mapped"):
        row["map"] = _lengths(own[own.get("_expand_input_attr", "expand_input")])
    return row


def _trigger(fields: Mapping[str, Any], timeout_s: float | None) -> dict[str, Any]:
    """Return what the scheduler needs of a task that starts from its trigger.

    A mapped one is run first, as in Airflow.
    """
    args = fields.get("start_trigger_args")
    if not args:
        return {}
    limits = [limit for limit in (args.get("timeout"), timeout_s) if limit is not None]
    return {"deferred": True, **({"trigger_timeout": min(limits)} if limits else {})}


def _walk_groups(
    group: Mapping[str, Any],
    mapped: list[str],
    tasks: dict[str, Any],
    groups: dict[str, Any],
) -> None:
    """Give every task its enclosing mapped groups, outermost first."""
    for child_id, (kind, child) in group["children"].items():
        if kind != "taskgroup":
            if mapped:
                tasks[child_id]["groups"] = mapped
            continue
        inner = mapped
        if child.get("is_mapped"):
            groups[child_id] = {"map": _lengths(child["expand_input"])}
            inner = [*mapped, child_id]
        _walk_groups(child, inner, tasks, groups)


def _lengths(expand_input: Mapping[str, Any]) -> list[Any]:
    """Return the factors whose product is the number of mapped instances."""
    value = expand_input["value"]
    if expand_input["type"] != "dict-of-lists":
        return [_length(value)]
    if "__var" in value:
        value = value["__var"]
    return [_length(argument) for argument in value.values()]


def _length(argument: Any) -> Any:
    """Return a literal's length, or the XCom tree whose length it will be."""
    if isinstance(argument, dict) and argument.get("__type") == "xcomref":
        return _xcom(argument["__var"])
    return len(_unwrap(argument))


def _xcom(reference: Mapping[str, Any]) -> dict[str, Any]:
    kind = reference.get("type", "")
    if kind == "":
        return {"of": reference["task_id"]}
    if kind == "map":  # keeps the length
        return _xcom_argument(reference["arg"])
    tree: dict[str, Any] = {kind: [_xcom_argument(arg) for arg in reference["args"]]}
    if "fillvalue" in reference:
        tree["fill"] = True
    return tree


def _xcom_argument(argument: Mapping[str, Any]) -> dict[str, Any]:
    return _xcom(argument.get("__var", argument))


def _unwrap(value: Any) -> Any:
    """Undo Airflow's ``{"__type": ..., "__var": ...}`` encoding."""
    if isinstance(value, dict) and "__var" in value:
        return _unwrap(value["__var"])
    if isinstance(value, dict):
        return {key: _unwrap(item) for key, item in value.items()}
    return [_unwrap(item) for item in value] if isinstance(value, list) else value
