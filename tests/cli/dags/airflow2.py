"""Tasks that look for what Airflow 2 had."""

from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG


def by_key(**context: Any) -> Any:
    return context["execution_date"]


def by_argument(prev_ds: Any) -> Any:
    return prev_ds


def by_import() -> Any:
    from airflow.operators.python_operator import PythonOperator

    return PythonOperator


with DAG("airflow2", schedule=None):
    for function in (by_key, by_argument, by_import):
        PythonOperator(task_id=function.__name__, python_callable=function)
    BashOperator(task_id="by_template", bash_command="echo {{ tomorrow_ds }}")
