"""Sixty hours to catch up with."""

from datetime import UTC, datetime

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

with DAG(
    "many",
    schedule="@hourly",
    start_date=datetime(2026, 3, 1, tzinfo=UTC),
    end_date=datetime(2026, 3, 3, 11, tzinfo=UTC),
    catchup=True,
    max_active_runs=3,
):
    EmptyOperator(task_id="nothing")
