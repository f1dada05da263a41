"""Variables that one run writes and another reads."""

from airflow.sdk import DAG, Variable, task

with DAG("writes"):

    @task
    def write(params=None, dag_run=None):
        for key, value in dag_run.conf.items():
            if value is None:
                Variable.delete(key)
            else:
                Variable.set(key, value, serialize_json=isinstance(value, dict))
            assert Variable.get(key, default=None) != "never"

    write()

with DAG("reads"):

    @task
    def read(dag_run=None):
        keys = dag_run.conf["keys"]
        return {key: Variable.get(key, default=None) for key in keys}

    read()

with DAG("waits"):

    @task(retries=1, retry_delay=4)
    def wait(ti=None):
        if ti.try_number == 1:
            raise ValueError("not yet")
        return Variable.get("passed")

    wait()

with DAG("yearly", schedule="@yearly"):

    @task
    def look():
        assert Variable.get("kept") == "two"

    look()
