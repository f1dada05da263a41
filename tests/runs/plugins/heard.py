"""Listeners that write what they hear into the file ``conf["heard"]`` names; ``conf`` may have them break or hang."""

import json
import time
from pathlib import Path

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin


def hear(hook, dag_run, msg):
    conf = dag_run.conf
    if "heard" not in conf:
        return
    heard = {
        "hook": hook,
        "msg": msg,
        "dag_id": dag_run.dag_id,
        "run_id": dag_run.run_id,
        "run_type": dag_run.run_type,
        "state": dag_run.state,
        "has_date": dag_run.logical_date is not None,
        "has_begun": dag_run.start_date is not None,
        "has_ended": dag_run.end_date is not None,
        "tasks": sorted(dag_run.dag.task_ids),
    }
    with Path(conf["heard"]).open("a") as file:
        file.write(json.dumps(heard) + "\n")
    print("heard", msg)
    if conf.get("then") == "break":
        raise RuntimeError("this listener is broken")
    if conf.get("then") == "hang":
        time.sleep(3600)


class Heard:
    @hookimpl
    def on_dag_run_running(self, dag_run, msg):
        hear("running", dag_run, msg)

    @hookimpl
    def on_dag_run_success(self, dag_run, msg):
        hear("success", dag_run, msg)

    @hookimpl
    def on_dag_run_failed(self, dag_run, msg):
        hear("failed", dag_run, msg)

    @hookimpl
    def on_starting(self, component):
        print("on_starting", type(component).__name__)

    @hookimpl
    def before_stopping(self, component):
        print("before_stopping", type(component).__name__)


class HeardPlugin(AirflowPlugin):
    name = "heard"
    listeners = [Heard()]
