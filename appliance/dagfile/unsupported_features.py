"""Table of the Airflow features that the appliance does not run, and the check of a DAG against it.

A run that cannot be right is never started. The tables at the end are the whole list. Child
side: an operator's class and attributes say more than its serialized form.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from appliance.dagfile.models import Refusal
from appliance.dagfile.plan_builder import task_fields


@dataclass(frozen=True, slots=True)
class _Task:
    """A task as seen by the tests below, mapped or not."""

    operator: Any
    fields: Mapping[str, Any]
    """Serialized, with a mapped task's own."""
    cls: type = field(init=False)

    def __post_init__(self) -> None:
        cls = getattr(self.operator, "operator_class", None) or type(self.operator)
        object.__setattr__(self, "cls", cls)

    def is_a(self, *names: str) -> bool:
        """Whether it is one of these operators of Airflow's own, or derived from one."""
        return any(
            kind.__name__ in names and kind.__module__.startswith("airflow.")
            for kind in self.cls.__mro__
        )


@dataclass(frozen=True, slots=True)
class _Feature:
    name: str
    """Fits "task x uses ..."."""
    hint: str
    is_used: Callable[[_Task], Any]


def refusals(dag: Any, serialized: Mapping[str, Any]) -> list[Refusal]:
    """Return what of a DAG cannot be run, the DAG's own first, then task by task.

    Args:
        dag: Airflow's DAG object.
        serialized: What ``DagSerialization.to_dict`` made of it.
    """
    own = serialized["dag"]
    found = [Refusal(name, hint) for name, hint, key in _DAG_FEATURES if own.get(key)]
    for wrapped in own["tasks"]:
        fields = task_fields(serialized, wrapped["__var"])
        task = _Task(dag.task_dict[fields["task_id"]], fields)
        found += [
            Refusal(feature.name, feature.hint, fields["task_id"])
            for feature in _TASK_FEATURES
            if feature.is_used(task)
        ]
    return found


_DAG_FEATURES = (("a deadline alert", "Remove deadline=.", "deadline"),)
"""(name, hint, key of the serialized DAG)."""

_TASK_FEATURES = (
    _Feature(
        "run_as_user",
        "Remove run_as_user=: every task runs as the user of the appliance.",
        lambda task: task.fields.get("run_as_user"),
    ),
    _Feature(
        "a stub task of another language",
        "Only Python tasks are run.",
        lambda task: task.is_a("_StubOperator"),
    ),
)
