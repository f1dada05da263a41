"""Specs as Airflow DAG objects. Imports Airflow: import it only in the oracle's process."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.branch import BaseBranchOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.python import ShortCircuitOperator
from airflow.sdk import DAG, BaseOperator, TaskGroup
from airflow.sdk.definitions._internal.expandinput import (
    DictOfListsExpandInput,
    ListOfDictsExpandInput,
)
from airflow.sdk.definitions.taskgroup import MappedTaskGroup

from tests.parity.specs import Node, Spec
from tests.parity.weights import ByName

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""Logical date and start of every run."""

_OPTIONAL_ARGUMENTS = {
    "max_tis": "max_active_tis_per_dagrun",
    "max_dag": "max_active_tis_per_dag",
    "priority": "priority_weight",
    "pool": "pool",
    "slots": "pool_slots",
    "past": "depends_on_past",
    "wait": "wait_for_downstream",
    "first": "ignore_first_depends_on_past",
    "backoff": "retry_exponential_backoff",
    "max_delay": "max_retry_delay",
}


class _Operator(BaseOperator):  # type: ignore[misc]
    template_fields = ("x", "y", "z")

    def __init__(
        self, *, x: Any = None, y: Any = None, z: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.x, self.y, self.z = x, y, z


class _Branch(BaseBranchOperator):  # type: ignore[misc]
    def choose_branch(self, context: Any) -> Any:
        raise NotImplementedError


def build_dag(spec: Spec, builder: "Builder | None" = None) -> Any:
    """Return the DAG of a spec.

    Raises:
        ValueError: Airflow's own checks at parse time refuse it.
        NotImplementedError: Likewise.
    """
    timeout_s = spec.get("dagrun_timeout")
    with DAG(
        spec["dag_id"],
        fail_fast=spec.get("fail_fast", False),
        schedule=None,
        max_active_tasks=spec.get("max_active_tasks", 16),
        max_active_runs=spec.get("max_active_runs", 16),
        catchup=spec.get("catchup", False),
        dagrun_timeout=timedelta(seconds=timeout_s) if timeout_s else None,
        start_date=_date(spec.get("start", -365)),
        end_date=_date(spec.get("end")),
    ) as dag:
        (builder or Builder()).build(spec["nodes"])
    dag.validate()
    dag.check_cycle()
    list(dag.task_group)
    return dag


class Builder:
    """Makes operators that do nothing: the oracle reports for them."""

    def __init__(self) -> None:
        self.operators: dict[str, Any] = {}

    def build(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            built = self._group(node) if "group" in node else self._task(node)
            for up in node["up"]:
                self.operators[up] >> built

    def _group(self, node: Node) -> Any:
        group: Any
        if mapping := node.get("map"):
            expand: Any = (
                ListOfDictsExpandInput(self.source(mapping["*"], is_dicts=True))
                if "*" in mapping
                else DictOfListsExpandInput(self.arguments(mapping))
            )
            group = MappedTaskGroup(
                group_id=node["group"], prefix_group_id=False, expand_input=expand
            )
        else:
            group = TaskGroup(group_id=node["group"], prefix_group_id=False)
        with group:
            self.build(node["nodes"])
        return group

    def _task(self, node: Node) -> Any:
        operator = self.operator_of(node, self._common(node))
        if node.get("setup"):
            operator.as_setup()
        if node.get("teardown"):
            operator.as_teardown(on_failure_fail_dagrun=node.get("fail_dagrun", False))
        self.operators[node["id"]] = operator
        return operator

    @staticmethod
    def _common(node: Node) -> dict[str, Any]:
        common: dict[str, Any] = {
            "task_id": node["id"],
            "trigger_rule": node["rule"],
            "retries": node["retries"],
            "retry_delay": node["retry_delay"],
        }
        for name, argument in _OPTIONAL_ARGUMENTS.items():
            if name in node:
                common[argument] = node[name]
        for name in node.keys() & {"start", "end"}:
            common[f"{name}_date"] = _date(node[name])
        if weight := node.get("weight"):
            common["weight_rule"] = ByName() if weight == "custom" else weight
        return common

    def operator_of(self, node: Node, common: dict[str, Any]) -> Any:
        """Return the operator of a task."""
        match node["kind"]:
            case "empty":
                return EmptyOperator(**common)
            case "branch":
                return _Branch(**common)
            case "short":
                return ShortCircuitOperator(python_callable=_identity, **common)
            case _:
                return self._plain_or_mapped(node, common)

    def _plain_or_mapped(self, node: Node, common: dict[str, Any]) -> Any:
        mapping = node.get("map")
        if mapping is None:
            return _Operator(**common)
        partial = _Operator.partial(**common)
        if "*" in mapping:
            return partial.expand_kwargs(self.source(mapping["*"], is_dicts=True))
        return partial.expand(**self.arguments(mapping))

    def arguments(self, mapping: dict[str, Any]) -> dict[str, Any]:
        return {name: self.source(source) for name, source in mapping.items()}

    def source(self, source: dict[str, Any], *, is_dicts: bool = False) -> Any:
        if "lit" in source:
            numbers = range(source["lit"])
            return [{"x": i} for i in numbers] if is_dicts else list(numbers)
        if "xcom" in source:
            return self.operators[source["xcom"]].output
        if "map" in source:
            return self.source(source["map"]).map(_identity)
        parts = source.get("zip") or source["concat"]
        first, *rest = [self.source(part) for part in parts]
        if "concat" in source:
            return first.concat(*rest)
        return first.zip(*rest, fillvalue=0) if source["fill"] else first.zip(*rest)


def _date(days: int | None) -> datetime | None:
    return None if days is None else EPOCH + timedelta(days=days)


def _identity(x: Any = None) -> Any:
    return x
