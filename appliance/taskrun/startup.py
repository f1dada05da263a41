"""First message to the task runner: Airflow's ``StartupDetails``, built from ``ActivityTaskInput``.

What Airflow's server computes there is computed here.

Source: Airflow 3.3: ``airflow/sdk/execution_time/comms.py`` (StartupDetails),
``airflow/api_fastapi/execution_api/routes/task_instances.py`` (ti_run).
"""

import uuid
from typing import Any

from appliance.dagrun.attempt import ActivityTaskInput

LISTENERS = "DagRunListeners"
"""Type of the request that has listeners called; the others are Airflow's own."""
BUNDLE = "dags-folder"
"""Airflow's default bundle: the DAG folder."""
_DAG_VERSION = str(uuid.UUID(int=1))


def should_retry(task: ActivityTaskInput) -> bool:
    """Whether Airflow would try again after a failure of this try."""
    return task.max_tries != 0 and task.try_number <= task.max_tries


def startup_details(
    task: ActivityTaskInput, *, conf: dict[str, Any], start_date: str
) -> dict[str, Any]:
    """Return the message body that starts this try, at ``start_date``."""
    run = task.run
    return {
        "type": "StartupDetails",
        "ti": instance(task),
        "dag_rel_path": run.file,
        "bundle_info": {"name": BUNDLE, "version": None},
        "start_date": (task.resume and task.resume.start_date) or start_date,
        "sentry_integration": "",
        "ti_context": {
            "dag_run": dag_run(task, conf),
            "task_reschedule_count": task.reschedules,
            "max_tries": task.max_tries,
            "should_retry": should_retry(task),
            "xcom_keys_to_clear": [] if task.resume else list(task.own_keys),
            **_resumption(task),
        },
    }


def callback_request(
    task: ActivityTaskInput, *, conf: dict[str, Any]
) -> dict[str, Any]:
    """Return what Airflow's DAG processor is asked when callbacks of a DAG, or of a try, are due; or what listeners are told."""
    callback = task.callback
    assert callback is not None  # noqa: S101 - asked only then
    request = {
        "filepath": task.run.file,
        "bundle_name": BUNDLE,
        "bundle_version": None,
        "msg": callback.reason,
    }
    if callback.run_state:
        run = dag_run(task, conf)
        return request | {"type": LISTENERS, "hook": callback.name, "dag_run": run}
    if callback.is_of_try:
        return request | {
            "type": "TaskCallbackRequest",
            "ti": instance(task),
            "task_callback_type": callback.reason,
            "context_from_server": {
                "dag_run": dag_run(task, conf),
                "max_tries": task.max_tries,
            },
        }
    return request | {
        "type": "DagCallbackRequest",
        "dag_id": task.run.dag_id,
        "run_id": task.run.run_id,
        "is_failure_callback": callback.is_failure,
        "context_from_server": {
            "dag_run": dag_run(task, conf),
            "last_ti": instance(task) if task.task_id else None,
        },
    }


def instance(task: ActivityTaskInput) -> dict[str, Any]:
    """Return the task instance as the SDK's ``TaskInstance`` model wants it."""
    return {
        "id": task.ti_id,
        "task_id": task.task_id,
        "dag_id": task.run.dag_id,
        "run_id": task.run.run_id,
        "try_number": task.try_number,
        "map_index": task.map_index,
        "dag_version_id": _DAG_VERSION,
        "queue": "default",
        "context_carrier": {},
    }


def _resumption(task: ActivityTaskInput) -> dict[str, Any]:
    """Say where a try goes on; what was sealed is open by now."""
    resume = task.resume
    if resume is None:
        return {}
    kept = (resume.sealed or {}).get("next_kwargs") or {}
    return {
        "next_method": resume.next_method,
        "next_kwargs": {**kept, **(resume.kwargs or {})},
        "start_date": resume.start_date,
    }


def dag_run(task: ActivityTaskInput, conf: dict[str, Any]) -> dict[str, Any]:
    """Return the run as the SDK's ``DagRun`` model wants it; all its required fields are here."""
    run = task.run
    callback = None if task.callback and task.callback.is_of_try else task.callback
    state = "running"
    if callback is not None:
        ended = "failed" if callback.is_failure else "success"
        state = callback.run_state or ended
    return {
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "run_type": run.run_type,
        "state": state,
        "logical_date": run.logical_date,
        "data_interval_start": run.data_interval_start,
        "data_interval_end": run.data_interval_end,
        "run_after": run.run_after,
        "start_date": run.start_date,
        "end_date": (callback.end_date or None) if callback else None,
        "conf": conf,
        "triggering_user_name": run.triggering_user,
        "consumed_asset_events": [],
        "partition_key": run.partition_key,
    }
