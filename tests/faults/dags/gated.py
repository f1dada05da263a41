"""Tasks that say they have begun, then wait until a file appears."""

import os
import time
from pathlib import Path

from airflow.sdk import BaseOperator, dag, task


def wait(folder: str, name: str) -> int:
    here = Path(folder)
    with (here / f"{name}.began").open("a") as began:
        began.write(f"{os.getpid()}\n")
    while not (here / "open").exists():
        time.sleep(0.05)
    return os.getpid()


class Killable(BaseOperator):
    def execute(self, context):
        self.folder = context["dag_run"].conf["folder"]
        wait(self.folder, "killable")

    def on_kill(self):
        (Path(self.folder) / "killed").write_text("on_kill was called")


@dag(schedule=None)
def gated():
    @task
    def before():
        return 1

    @task
    def waits(number, **context):
        wait(context["dag_run"].conf["folder"], "waits")
        return number + 1

    @task
    def after(number):
        return number + 1

    after(waits(before()))


@dag(schedule=None)
def gated_with_retry():
    @task(retries=1, retry_delay=0)
    def waits(**context):
        wait(context["dag_run"].conf["folder"], "waits")

    waits()


@dag(schedule=None)
def gated_killable():
    Killable(task_id="killable")


gated()
gated_with_retry()
gated_killable()
