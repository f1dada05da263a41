"""Writes Variables, over and over."""

from airflow.sdk import DAG, Variable, task

with DAG("keeps_values"):

    @task
    def keep():
        for number in range(3):
            Variable.set("recorded", str(number))
            Variable.set(f"recorded_{number}", "kept")
        Variable.delete("recorded_0")

    keep()
