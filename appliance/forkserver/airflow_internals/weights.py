"""Weights that the user's own priority weight strategies give the tasks of a DAG.

On an upgrade read this list against the new source:

* A serialized task's ``weight_rule``: one of ``_AIRFLOWS``, or where the user's own strategy is.
* ``task.priority_strategy.validate_and_load_priority_weight_strategy`` takes an instance, or where its class is, and
  makes a fresh one of a class that a plugin has registered.
"""

from types import SimpleNamespace
from typing import Any

from airflow.serialization.serialized_objects import DagSerialization
from airflow.task.priority_strategy import validate_and_load_priority_weight_strategy

_AIRFLOWS = ("absolute", "downstream", "upstream")


def custom(dag: Any, serialized: dict[str, Any]) -> dict[str, int]:
    """Return what custom strategies weigh the tasks of a DAG, asked as when a run is created.

    A mapped task is asked about once, before it is expanded; Airflow 3.3.2 loses its strategy when it serializes
    the DAG, and can create no run.

    Args:
        dag: As the file made it.
        serialized: The same, serialized.

    Raises:
        Exception: Whatever a strategy raises.
    """
    found = {}
    for fields in (task["__var"] for task in serialized["dag"]["tasks"]):
        given = {**fields, **fields.get("partial_kwargs", {})}
        if given.get("weight_rule", "downstream") not in _AIRFLOWS:
            found[fields["task_id"]] = dag.task_dict[fields["task_id"]]
    if not found:
        return {}
    tasks = DagSerialization.from_dict(serialized).task_dict
    return {
        task_id: int(_strategy(task).get_weight(_before_it_runs(tasks[task_id])))
        for task_id, task in found.items()
    }


def _strategy(task: Any) -> Any:
    """Return a fresh instance, named by its class or by where that is, as Airflow's scheduler has it."""
    return validate_and_load_priority_weight_strategy(task.weight_rule)


def _before_it_runs(task: Any) -> Any:
    """Return as much of a task instance as there is when a run is created."""
    return SimpleNamespace(
        dag_id=task.dag_id,
        task_id=task.task_id,
        task=task,
        map_index=-1,
        try_number=0,
        max_tries=task.retries,
        pool=task.pool,
        pool_slots=task.pool_slots,
        queue=task.queue,
        operator=task.task_type,
    )
