"""A DAG whose tasks depend on its earlier runs."""

import time
from pathlib import Path

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import dag, task


@dag(schedule=None)
def depends():
    @task(depends_on_past=True)
    def waits(**context):
        folder = Path(context["dag_run"].conf["folder"])
        name = context["run_id"]
        with (folder / "began").open("a") as began:
            began.write(f"{name}\n")
        while not (folder / f"{name}.open").exists():
            time.sleep(0.05)

    @task
    def free():
        return 1

    free()
    waits() >> EmptyOperator(task_id="end", wait_for_downstream=True)


depends()
