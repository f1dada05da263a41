"""DAGs whose runs wait: for each other, for a pool, for the clock."""

import time
from datetime import UTC, datetime

from airflow.sdk import dag, task

START = datetime(2026, 3, 1, tzinfo=UTC)


@dag(schedule=None, max_active_runs=2)
def narrow():
    @task(pool="narrow")
    def waits():
        time.sleep(1)

    waits()
    waits()


@dag(
    schedule="@hourly",
    start_date=START,
    end_date=datetime(2026, 3, 1, 5, tzinfo=UTC),
    catchup=True,
    max_active_runs=2,
    max_consecutive_failed_dag_runs=5,
)
def caught_up():
    @task
    def fails(dag_run=None):
        if dag_run.run_id.endswith("T02:00:00+00:00"):
            raise ValueError("as it should")

    fails()


@dag(schedule="@hourly", start_date=START)
def past():
    @task
    def waits():
        time.sleep(0.5)

    waits()


narrow()
caught_up()
past()
