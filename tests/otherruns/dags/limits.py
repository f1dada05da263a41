"""Runs that may not all run at once: each says that it has begun, and waits until its file appears."""

import time
from pathlib import Path

from airflow.sdk import dag, task


@dag(schedule=None, max_active_runs=1)
def one_at_a_time():
    @task
    def waits(**context):
        folder = Path(context["dag_run"].conf["folder"])
        name = context["run_id"]
        with (folder / "began").open("a") as began:
            began.write(f"{name}\n")
        while not (folder / f"{name}.open").exists():
            time.sleep(0.05)

    waits()


one_at_a_time()
