"""Specs as DAGs whose tasks really do what the script says: for the oracle and for an appliance.

Imports Airflow: import it only in the oracle's process and in DAG files.
"""

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import get_current_context, task, timezone
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
)

from tests.parity.dags import Builder, build_dag
from tests.parity.specs import Node, Spec, generate, tamed

OUTCOMES = Path(__file__).with_name("outcomes.jsonl")
LAST_CHANCE = 50


def build_acted_dag(spec: Spec) -> Any:
    """Return the DAG of a spec that ``tamed`` has returned."""
    return build_dag(spec, _Acting(spec["script"]))


def dags() -> dict[str, Any]:
    """Return the DAGs of all recorded outcomes, for a DAG file."""
    rows = map(json.loads, OUTCOMES.read_text().splitlines())
    built = [build_acted_dag(tamed(generate(row["seed"]))) for row in rows]
    return {dag.dag_id: dag for dag in built}


class _Acting(Builder):
    def __init__(self, script: dict[str, Any]) -> None:
        super().__init__()
        self.script = script

    def operator_of(self, node: Node, common: dict[str, Any]) -> Any:
        if node["kind"] == "empty":
            return EmptyOperator(**common)
        actions = {
            name: steps
            for name, steps in self.script.items()
            if name.partition("[")[0] == node["id"]
        }
        made = self._decorated(node, actions, common)
        mapping = node.get("map")
        if mapping is None:
            return made().operator
        if "*" in mapping:
            return made.expand_kwargs(self.source(mapping["*"], is_dicts=True)).operator
        return made.expand(**self.arguments(mapping)).operator

    @staticmethod
    def _decorated(node: Node, actions: dict[str, Any], common: dict[str, Any]) -> Any:
        match node["kind"]:
            case "branch":
                return task.branch(**common)(_follower(actions[node["id"]]))
            case "short":
                direct = actions[node["id"]][0]["direct"]
                common["ignore_downstream_trigger_rules"] = not direct
                return task.short_circuit(**common)(_actor(actions))
            case _:
                return task(**common)(_actor(actions))


def _follower(steps: Sequence[dict[str, Any]]) -> Callable[[], Any]:
    def follow() -> Any:
        return steps[0]["follow"]

    return follow


def _actor(actions: dict[str, Any]) -> Callable[..., Any]:
    def act(x: Any = None, y: Any = None, z: Any = None) -> Any:
        ti = get_current_context()["ti"]
        name = ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]"
        steps = actions.get(name) or actions.get(ti.task_id) or [{}]
        pokes = ti._ti_context_from_server.task_reschedule_count
        return _do(_step(steps, ti.try_number, pokes))

    return act


def _step(
    steps: Sequence[dict[str, Any]], try_number: int, pokes: int
) -> dict[str, Any]:
    """Return what this execution does: the n-th one takes the n-th step, the last one repeats."""
    here = (1, 0)
    for n in range(LAST_CHANCE):
        step = steps[min(n, len(steps) - 1)]
        if here == (try_number, pokes):
            return step
        is_poke = step.get("do") == "reschedule"
        here = (here[0], here[1] + 1) if is_poke else (here[0] + 1, 0)
    raise LookupError(f"no step for try {try_number} after {pokes} pokes")


def _do(step: dict[str, Any]) -> Any:
    match step.get("do", "success"):
        case "fail":
            raise RuntimeError("as the script says")
        case "fail_now":
            raise AirflowFailException("as the script says")
        case "skip":
            raise AirflowSkipException("as the script says")
        case "reschedule":
            delay = timedelta(seconds=step["delay"])
            raise AirflowRescheduleException(timezone.utcnow() + delay)
        case _:
            return step.get("value")
