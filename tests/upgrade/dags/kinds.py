"""DAGs of every kind that an upgrade interrupts; what their tasks do is noted in the folder of the test."""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync
from airflow.sdk import DAG, Variable, dag, task
from airflow.sdk.definitions.timetables.trigger import DeltaTriggerTimetable

FOLDER = Path(os.environ["UPGRADE_FOLDER"])
SINCE = datetime.fromisoformat(os.environ["UPGRADE_SINCE"])


def note(context, what):
    ti = context["ti"]
    row = [ti.dag_id, ti.run_id, ti.task_id, ti.map_index, what, time.time()]
    with (FOLDER / "notes").open("a") as notes:
        notes.write(json.dumps(row) + "\n")


def work(context, seconds):
    note(context, "begins")
    time.sleep(seconds)
    note(context, "done")


def is_open():
    return (FOLDER / "open").exists()


@dag(schedule=None)
def mapped():
    @task
    def numbers():
        return [1, 2, 3, 4]

    @task
    def double(number, **context):
        work(context, 4)
        return 2 * number

    @task
    def total(values, **context):
        assert list(values) == [2, 4, 6, 8]
        note(context, "done")
        return sum(values)

    total(double.expand(number=numbers()))


@dag(schedule=None)
def waiting():
    @task.sensor(poke_interval=1, mode="reschedule", timeout=600)
    def gate():
        return is_open()

    @task
    def after(**context):
        note(context, "done")

    gate() >> after()


@dag(schedule=None)
def pooled():
    @task(pool="narrow")
    def slot(**context):
        work(context, 1.5)

    slot()


@dag(schedule=None, max_active_runs=1)
def queued():
    @task
    def turn(**context):
        work(context, 2)

    turn()


@dag(schedule=None)
def retried():
    @task(retries=1, retry_delay=timedelta(seconds=25))
    def again(**context):
        if context["ti"].try_number == 1:
            note(context, "fails")
            raise ValueError("the first time it fails")
        note(context, "done")

    again()


@dag(schedule=None)
def remembers():
    @task
    def push():
        Variable.set("written_before", "by 0.1.0")
        return "x" * 300_000

    @task.sensor(poke_interval=1, mode="reschedule", timeout=600)
    def gate():
        return is_open()

    @task
    def pull(text, **context):
        assert len(text) == 300_000
        assert Variable.get("written_before") == "by 0.1.0"
        note(context, "done")

    pushed = push()
    pushed >> gate() >> pull(pushed)


@dag(
    schedule=DeltaTriggerTimetable(timedelta(seconds=10)),
    start_date=SINCE,
    end_date=SINCE + timedelta(seconds=120),
    catchup=True,
)
def scheduled():
    @task
    def tick(**context):
        work(context, 0.5)

    tick()


@dag(
    schedule=DeltaTriggerTimetable(timedelta(seconds=5)),
    start_date=SINCE,
    catchup=True,
)
def paused():
    @task
    def day(**context):
        work(context, 1)

    day()


@dag(
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    end_date=datetime(2026, 1, 31, tzinfo=UTC),
    catchup=False,
)
def backfilled():
    @task
    def day(**context):
        work(context, 3)

    day()


mapped()
waiting()
pooled()
queued()
retried()
remembers()
scheduled()
paused()
backfilled()

with DAG("deferred", schedule=None):
    DateTimeSensorAsync(
        task_id="until",
        target_time="{{ dag_run.conf['until'] }}",
    )

with DAG("asking", schedule=None):
    ApprovalOperator(task_id="ask", subject="Shall it go on?")
