"""DAGs that hand on what they are given."""

from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import BaseOperator, Param, dag, task
from passing_trigger import AtOnce


class Waits(BaseOperator):
    """Goes through a trigger with a value."""

    def __init__(self, value: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.value = value

    def execute(self, context: Any) -> None:
        self.defer(trigger=AtOnce(value=self.value), method_name="resumed")

    def resumed(self, context: Any, event: Any) -> Any:
        return event


@dag(schedule=None, params={"unset": 1})
def passes() -> None:
    @task
    def given(dag_run: Any = None) -> Any:
        return dag_run.conf

    @task
    def pulled(value: Any, ti: Any = None) -> Any:
        assert value == ti.xcom_pull(task_ids="given")
        kinds = {key: type(item).__name__ for key, item in value.items()}
        return {"value": value, "kinds": kinds}

    @task
    def templated(text: str) -> str:
        return text

    pulled(given())
    templated("{{ dag_run.conf['wide'] }} {{ params.below }} {{ params['one'] }}")
    Waits(task_id="waits", value=2**70)
    TriggerDagRunOperator(
        task_id="starts",
        trigger_dag_id="receives",
        trigger_run_id="started",
        conf={"wide": 2**64, "one": 1.0},
        wait_for_completion=True,
        poke_interval=1,
    )


@dag(schedule=None)
def receives() -> None:
    @task
    def given(dag_run: Any = None) -> Any:
        return dag_run.conf

    given()


@dag(schedule=None)
def counts() -> None:
    @task
    def counted(dag_run: Any = None) -> int:
        return len(dag_run.conf)

    counted()


PARAMS = {
    "who": Param(type="string", description="Whose it is."),
    "age": Param(type="integer", minimum=3),
    "day": "today",
}


@dag(schedule=None, params=PARAMS)
def asks() -> None:
    @task
    def given(params: Any = None) -> Any:
        return dict(params)

    given()


passes()
receives()
counts()
asks()
