"""Operators side by side: a shell command, then a Python function, in the classic style."""

from datetime import datetime

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG


def say_goodbye(name: str) -> None:
    print(f"Goodbye, {name}!")


with DAG(
    "hello_world",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    tags=["example"],
):
    hello = BashOperator(
        task_id="hello",
        bash_command="echo 'Hello from run {{ run_id }}'",
    )
    goodbye = PythonOperator(
        task_id="goodbye",
        python_callable=say_goodbye,
        op_kwargs={"name": "world"},
    )
    hello >> goodbye
