"""Callbacks of a DAG or a task, called as Airflow's DAG processor does."""

from typing import Any

import structlog
from airflow.callbacks.callback_requests import (
    DagCallbackRequest,
    TaskCallbackRequest,
)
from airflow.dag_processing import processor
from airflow.sdk.execution_time import comms, task_runner

from appliance.forkserver.airflow_internals import dag_files

_REQUESTS = {one.__name__: one for one in (DagCallbackRequest, TaskCallbackRequest)}


def run(request: dict[str, Any]) -> None:
    """Call what a ``DagCallbackRequest`` or ``TaskCallbackRequest`` names; what a callback raises is logged."""
    log = structlog.get_logger(logger_name="task")
    task_runner.SUPERVISOR_COMMS = comms.CommsDecoder(log=log)
    root = task_runner.DagBundlesManager().get_bundle(dag_files.BUNDLE).path
    bag = dag_files.read_file(root / request["filepath"], root)
    due = _REQUESTS[request["type"]].model_validate(request)
    processor._execute_callbacks(bag, [due], log)  # noqa: SLF001 - listed in pinned_names
