"""Tasks that share slots with those of other runs; each tells when it begins and waits for a file."""

import time
from pathlib import Path

from airflow.sdk import dag, task


def wait(name, context):
    folder = Path(context["dag_run"].conf["folder"])
    with (folder / "began").open("a") as began:
        began.write(f"{name}\n")
    while not (folder / f"{name}.open").exists():
        time.sleep(0.05)


@dag(schedule=None)
def pooled():
    @task(pool="narrow")
    def waits(**context):
        wait(context["run_id"], context)

    @task
    def free():
        return 1

    free()
    waits()


@dag(schedule=None)
def limited():
    @task(max_active_tis_per_dag=1)
    def waits(**context):
        wait(context["run_id"], context)

    waits()


@dag(schedule=None)
def counts():
    """As many at once as the pool has slots for two slots each."""

    @task(pool="wide", pool_slots=2)
    def one(number, **context):
        folder = Path(context["dag_run"].conf["folder"])
        (folder / f"in{number}").touch()
        time.sleep(0.3)
        most = len(list(folder.glob("in*")))
        (folder / f"in{number}").unlink()
        return most

    one.expand(number=list(range(5)))


@dag(schedule=None, max_active_tasks=4)
def crowds():
    """Each waits for a file of its own; all in default_pool."""

    @task
    def one(number, **context):
        folder = Path(context["dag_run"].conf["folder"])
        (folder / f"in{number}").touch()
        while not (folder / f"open{number}").exists():
            time.sleep(0.05)
        (folder / f"in{number}").unlink()

    one.expand(number=list(range(7)))


@dag(schedule=None)
def no_such_pool():
    @task(pool="nowhere")
    def one():
        return 1

    one()


@dag(schedule=None)
def too_large():
    @task(pool="narrow", pool_slots=2)
    def one():
        return 1

    one()


pooled()
limited()
counts()
crowds()
no_such_pool()
too_large()
