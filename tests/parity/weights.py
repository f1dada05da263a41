"""A custom priority weight strategy, and the Airflow plugin that makes it known. Imports Airflow."""

from typing import Any

from airflow.plugins_manager import AirflowPlugin
from airflow.task.priority_strategy import PriorityWeightStrategy


class ByName(PriorityWeightStrategy):  # type: ignore[misc]
    """Weighs a task by its name."""

    def get_weight(self, ti: Any) -> int:
        """Return from 1 to 7, tasks with few neighbours first."""
        return int(sum(map(ord, ti.task_id)) + len(ti.task.downstream_task_ids)) % 7 + 1


class Weights(AirflowPlugin):  # type: ignore[misc]
    """Registers the strategy."""

    name = "parity_weights"
    priority_weight_strategies = (ByName,)
