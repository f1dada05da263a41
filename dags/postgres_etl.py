"""Create a table in PostgreSQL, then fill it.

Needs the connection ``postgres_default``: in ``conf/appliance.yaml``, as the variable
``AIRFLOW_CONN_POSTGRES_DEFAULT``, or for one run with ``submit --connections FILE``.
"""

from datetime import datetime

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import DAG

with DAG(
    "postgres_etl",
    start_date=datetime(2026, 1, 1),
    schedule=None,
    catchup=False,
    tags=["example"],
):
    create_table = SQLExecuteQueryOperator(
        task_id="create_table",
        conn_id="postgres_default",
        sql="""
            CREATE TABLE IF NOT EXISTS pets (
                name TEXT PRIMARY KEY,
                kind TEXT NOT NULL
            );
        """,
    )
    insert_pets = SQLExecuteQueryOperator(
        task_id="insert_pets",
        conn_id="postgres_default",
        sql="""
            INSERT INTO pets (name, kind)
            VALUES ('Max', 'dog'), ('Susie', 'cat'), ('Lester', 'hamster')
            ON CONFLICT (name) DO NOTHING;
        """,
    )
    create_table >> insert_pets
