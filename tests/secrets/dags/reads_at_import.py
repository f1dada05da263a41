"""Passwords in hand while the file is read."""

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Connection, Variable

secret = Variable.get("yaml_secret") + Connection.get("yaml_db").password

with DAG("knows", description=secret, doc_md=secret, default_args={"owner": "me"}):
    BashOperator(
        task_id="use", bash_command='test -n "$IT"', env={"IT": secret}, doc_md=secret
    )
