"""Runs of every kind, for the campaign that kills parts while they are under way."""

import fcntl
import os
import time
from datetime import datetime, timedelta
from pathlib import Path

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import BaseOperator, dag, task

FOLDER = Path(os.environ.get("COUNTED_IN", "/nonexistent"))
SINCE = os.environ.get("COUNTED_SINCE")
SLOTS = 2
"""The slots of the pool ``narrow``."""
RETRIES = {"retries": 20, "retry_delay": timedelta(seconds=0.5)}


def note(what, context):
    ti = context["ti"]
    words = f"{what} {ti.dag_id} {ti.run_id} {ti.task_id} {ti.map_index} {ti.try_number} {os.getpid()}\n"
    # One write, appended: no two tries can mix their lines, and a kill leaves a whole line or none.
    with (FOLDER / "counters").open("ab", buffering=0) as counters:
        counters.write(words.encode())


def take_slot(context):
    """Hold one of as many locks as the pool has slots until this process ends, however it ends."""
    for number in range(SLOTS):
        lock = os.open(FOLDER / f"slot{number}", os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:
            return
    note("overrun", context)


class Defers(BaseOperator):
    def execute(self, context):
        note("begun", context)
        self.defer(trigger=TimeDeltaTrigger(timedelta(seconds=4)), method_name="resume")

    def resume(self, context, event=None):
        note("resumed", context)
        note("done", context)


@task
def works(number, **context):
    note("begun", context)
    time.sleep(1 + number / 2)
    note("done", context)


@task(pool="narrow")
def pooled(number, **context):
    take_slot(context)
    note("begun", context)
    time.sleep(0.5 + number / 2)
    note("done", context)


@task
def numbers():
    return [0, 1, 2]


@dag(schedule=None, default_args=RETRIES)
def mixed_pooled():
    pooled.expand(number=numbers())


@dag(schedule=None, default_args=RETRIES)
def mixed_deferred():
    Defers(task_id="defers") >> works(1)


@dag(schedule=None, default_args=RETRIES)
def mixed_mapped():
    works.expand(number=numbers())


@dag(
    schedule=timedelta(seconds=10) if SINCE else None,
    start_date=datetime.fromisoformat(SINCE) if SINCE else None,
    end_date=datetime.fromisoformat(SINCE) + timedelta(seconds=100) if SINCE else None,
    catchup=True,
    default_args=RETRIES,
)
def mixed_scheduled():
    works(1)


mixed_pooled()
mixed_deferred()
mixed_mapped()
mixed_scheduled()
