"""The first DAG to try: two tasks, the second greets with what the first one returned."""

from airflow.sdk import dag, task


@dag(schedule=None, tags=["example"])
def my_dag():
    @task
    def who() -> str:
        return "world"

    @task
    def greet(name: str) -> str:
        message = f"Hello, {name}!"
        print(message)
        return message

    greet(who())


my_dag()
