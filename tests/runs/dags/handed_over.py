"""A run whose history grows long while one of its tasks goes on."""

import datetime as dt
import os
import time
from pathlib import Path

from airflow.providers.standard.sensors.python import PythonSensor
from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.providers.standard.triggers.file import FileTrigger
from airflow.sdk import DAG, BaseOperator, TriggerRule, get_current_context, task


def folder():
    return Path(get_current_context()["dag_run"].conf["folder"])


def note(name):
    """Leave a line for every time this was run."""
    with (folder() / name).open("a") as file:
        file.write(f"{os.getpid()}\n")


def poke():
    note("poked")
    return len((folder() / "poked").read_text().splitlines()) > 3


class Deferred(BaseOperator):
    def execute(self, context):
        note("deferred")
        trigger = FileTrigger(filepath=str(folder() / "open"), poke_interval=0.5)
        self.defer(trigger=trigger, method_name="go_on", kwargs={"word": "kept"})

    def go_on(self, context, event, word):
        note("resumed")
        return word


with DAG(
    "handed_over",
    schedule=None,
    start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    max_active_tasks=6,
):

    @task
    def waits():
        note("waits")
        while not (folder() / "open").exists():
            time.sleep(0.05)
        return "waited"

    @task
    def numbers():
        return list(range(40))

    @task(retries=1, retry_delay=dt.timedelta(seconds=2), max_active_tis_per_dag=3)
    def double(number):
        note(f"double-{number}")
        if number % 10 == 3 and get_current_context()["ti"].try_number == 1:
            raise ValueError("once")
        return 2 * number

    @task
    def total(doubled, waited):
        note("total")
        return [sum(doubled), waited]

    @task(trigger_rule=TriggerRule.ALL_DONE)
    def clean():
        note("clean")

    sensor = PythonSensor(
        task_id="pokes", python_callable=poke, mode="reschedule", poke_interval=1
    )
    Deferred(task_id="deferred")
    TimeDeltaSensor(task_id="moment", delta=dt.timedelta(seconds=15), deferrable=True)
    doubled = double.expand(number=numbers())
    total(doubled, waits()) >> clean().as_teardown()
