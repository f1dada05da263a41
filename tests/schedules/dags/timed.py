"""DAGs that run by the clock."""

import time
from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import DAG, CronPartitionTimetable, task
from holidays import EveryFiveSeconds

HOURLY = {"schedule": "@hourly", "start_date": datetime(2026, 1, 1, tzinfo=UTC)}


def told(name, **words):
    with DAG(name, **words):

        @task
        def tell(
            logical_date=None, data_interval_start=None, run_id=None, dag_run=None
        ):
            return {
                "run_id": run_id,
                "run_type": dag_run.run_type,
                "logical_date": logical_date and logical_date.isoformat(),
                "data_interval_start": data_interval_start
                and data_interval_start.isoformat(),
                "partition_key": dag_run.partition_key,
                "conf": dag_run.conf,
            }

        tell()


with DAG("gated", **HOURLY):

    @task
    def wait(dag_run=None):
        gate = Path(dag_run.conf["gate"])
        (gate / dag_run.run_id).touch()
        while not (gate / "open").exists():
            time.sleep(0.1)

    wait()

told(
    "ended",
    end_date=datetime(2026, 1, 1, 3, tzinfo=UTC),
    catchup=True,
    max_active_runs=2,
    **HOURLY,
)
told("hourly", **HOURLY)
told(
    "plugged",
    schedule=EveryFiveSeconds(),
    start_date=datetime(2026, 1, 1),
    catchup=True,
)
told(
    "parted",
    schedule=CronPartitionTimetable("0 0 1 1 *", timezone="UTC", key_format="%Y"),
    start_date=datetime(2025, 6, 1, tzinfo=UTC),
    catchup=True,
)
told("handy", schedule=None)
