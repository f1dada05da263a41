"""How much CPU one scheduling pass takes that has to look at 10,000 task instances, all of which become ready."""

import time
from statistics import median
from typing import Any

from appliance.dagrun.graph import Graph
from appliance.dagrun.passes import Pass
from appliance.dagrun.plan import Plan
from appliance.dagrun.states import TaskState
from appliance.dagrun.task_instances import TaskInstances

INSTANCES = 10_000
ROUNDS = 9

MAPPED: dict[str, Any] = {"a": {"down": ["m"]}, "m": {"map": [INSTANCES]}}
SEPARATE: dict[str, Any] = {
    "a": {"down": [f"t{i}" for i in range(INSTANCES)]},
    **{f"t{i}": {} for i in range(INSTANCES)},
}


def pass_ms(tasks: dict[str, Any]) -> float:
    """Return the median CPU time of the pass that follows the end of task ``a``."""
    plan = Plan.from_json({"dag_id": "large", "tasks": tasks})
    return median(_one_pass_ms(plan) for _ in range(ROUNDS))


def _one_pass_ms(plan: Plan) -> float:
    board = TaskInstances(Graph(plan), lambda _instance, _old: None)
    Pass(board, 0.0).run()
    first = board.find(("a", -1))
    assert first is not None
    board.set_state(first, TaskState.SUCCESS)
    this = Pass(board, 0.0)
    began = time.process_time()
    report = this.run()
    took = time.process_time() - began
    assert len(report.ready) == INSTANCES
    return took * 1000
