"""Plugins' listeners for DAG runs, called as Airflow's scheduler does.

Source: Airflow 3.3: ``DagRun.notify_dagrun_state_changed``, ``airflow/listeners/listener.py``.
"""

from datetime import datetime
from functools import cache
from typing import Any

import structlog
from airflow.listeners.spec import dagrun
from airflow.models.dagrun import DagRun
from airflow.sdk import plugins_manager
from airflow.sdk._shared.listeners.listener import ListenerManager
from airflow.sdk.execution_time import comms, task_runner

from appliance.forkserver.airflow_internals import dag_files

_HOOKS = ("on_dag_run_running", "on_dag_run_success", "on_dag_run_failed")
_TIMES = ("logical_date", "run_after", "start_date")
_INTERVAL = ("data_interval_start", "data_interval_end")


@cache
def hooks() -> tuple[str, ...]:
    """Return the hooks of DAG runs that a listener has; Airflow is made ready to call them."""
    manager = _manager()
    found = tuple(
        name for name in _HOOKS if getattr(manager.hook, name).get_hookimpls()
    )
    if found:
        DagRun()  # Half a second for the first.
    return found


def run(request: dict[str, Any]) -> None:
    """Call a hook; what a listener raises is logged."""
    log = structlog.get_logger(logger_name="task")
    task_runner.SUPERVISOR_COMMS = comms.CommsDecoder(log=log)
    root = task_runner.DagBundlesManager().get_bundle(dag_files.BUNDLE).path
    bag = dag_files.read_file(root / request["filepath"], root)
    dag_run = _dag_run(request["dag_run"])
    dag_run.dag = bag.dags.get(dag_run.dag_id)
    try:
        getattr(_manager().hook, request["hook"])(dag_run=dag_run, msg=request["msg"])
    except Exception:
        log.exception("Error while calling listener")


@cache
def _manager() -> Any:
    """Return the listeners the SDK has found, with the hooks of Airflow's scheduler; it would load all plugins anew."""
    manager = ListenerManager()
    manager.add_hookspecs(dagrun)
    plugins_manager.integrate_listener_plugins(manager)
    return manager


def _dag_run(told: dict[str, Any]) -> Any:
    """Return a run with the columns of Airflow's; what asks its database finds none."""
    times = {name: _time(told[name]) for name in (*_TIMES, *_INTERVAL, "end_date")}
    interval = tuple(times[name] for name in _INTERVAL)
    made = DagRun(
        dag_id=told["dag_id"],
        run_id=told["run_id"],
        run_type=told["run_type"],
        state=told["state"],
        conf=told["conf"],
        queued_at=times["run_after"],
        triggering_user_name=told["triggering_user_name"],
        partition_key=told["partition_key"],
        data_interval=interval if times["logical_date"] and all(interval) else None,
        **{name: times[name] for name in _TIMES},
    )
    made.queued_at = times["run_after"]
    made.end_date = times["end_date"]
    return made


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
