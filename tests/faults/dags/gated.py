"""Tasks that say they have begun, then wait until a file appears."""

import os
import time
from pathlib import Path

from airflow.sdk import BaseOperator, dag, setup, task, teardown


def begin(folder: str, name: str) -> None:
    with (Path(folder) / f"{name}.began").open("a") as began:
        began.write(f"{os.getpid()}\n")


def wait(folder: str, name: str) -> int:
    here = Path(folder)
    begin(folder, name)
    while not (here / "open").exists():
        time.sleep(0.05)
    return os.getpid()


class Killable(BaseOperator):
    def execute(self, context):
        self.folder = context["dag_run"].conf["folder"]
        wait(self.folder, "killable")

    def on_kill(self):
        (Path(self.folder) / "killed").write_text("on_kill was called")


class Interrupted(BaseOperator):
    """Gives up when it is told to stop, so that its callback is called as for any failure."""

    def execute(self, context):
        self.is_killed = False
        begin(context["dag_run"].conf["folder"], "interrupted")
        while not self.is_killed:
            time.sleep(0.05)
        raise RuntimeError("interrupted")

    def on_kill(self):
        self.is_killed = True


def tell(context):
    folder = Path(context["dag_run"].conf["folder"])
    (folder / "called_back").write_text(context["ti"].task_id)


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


@dag(schedule=None, max_active_tasks=50)
def gated_crowd():
    """More tasks than slots, and more than the worker even takes, around what is set up and torn down."""

    @setup
    def up(**context):
        begin(context["dag_run"].conf["folder"], "up")

    @teardown
    def down(**context):
        begin(context["dag_run"].conf["folder"], "down")

    @task
    def waits(number, **context):
        wait(context["dag_run"].conf["folder"], "waits")

    @task
    def later():
        pass

    made, removed = up(), down()
    interrupted = Interrupted(task_id="interrupted", on_failure_callback=tell)
    crowd = waits.expand(number=list(range(40)))
    made >> [interrupted, crowd] >> later() >> removed
    made >> removed


gated()
gated_with_retry()
gated_killable()
gated_crowd()
