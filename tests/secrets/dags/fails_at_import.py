"""Cannot be read, and says why."""

from airflow.sdk import DAG, Connection, Variable

dag = DAG("broken")
print(Variable.get("file_secret"), Connection.get("env_db").get_uri())
raise ValueError(Variable.get("yaml_secret"), Connection.get("file_db").password)
