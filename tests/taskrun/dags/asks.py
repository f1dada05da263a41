"""Tasks that ask their supervisor everything they can."""

import datetime as dt

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync
from airflow.sdk import (
    DAG,
    Asset,
    BaseOperator,
    Variable,
    asset,
    get_current_context,
    task,
    task_group,
)
from airflow.sdk.log import mask_secret

FAR = dt.datetime(2126, 1, 1, tzinfo=dt.UTC)


@asset(schedule=None)
def after(before):
    print("found", before.uri, before.extra)


class Labelled(BaseOperator):
    """Has a label of its own and a template."""

    template_fields = ("text",)

    def __init__(self, text="", **kwargs):
        super().__init__(**kwargs)
        self.text = text

    def execute(self, context):
        """Return the text."""
        return self.text


with DAG("asks", schedule=None, start_date=dt.datetime(2026, 1, 1, tzinfo=dt.UTC)):

    @task
    def items():
        return [1, 2, 3]

    @task
    def pulls():
        ti = get_current_context()["ti"]
        return {
            "one": ti.xcom_pull(task_ids="double", map_indexes=1),
            "all": list(ti.xcom_pull(task_ids="double")),
            "none": ti.xcom_pull(task_ids="absent"),
            "own": ti.xcom_pull(key="mine", default="nothing"),
        }

    @task
    def double(item):
        return item * 2

    @task
    def total(values):
        return [sum(values), values[-1], list(values[1:]), list(values[::-1])]

    @task
    def pushes():
        ti = get_current_context()["ti"]
        ti.xcom_push("mine", {"a": 1})
        return ti.xcom_pull(key="mine", task_ids="pushes")

    @task
    def too_many():
        return list(range(2000))

    @task
    def counts():
        ti = get_current_context()["ti"]
        where = {"dag_id": "asks", "run_ids": ["manual__1"]}
        return [
            ti.get_ti_count(task_ids=["double"], **where),
            ti.get_task_states(task_ids=["double"], **where),
            ti.get_dagrun_state("asks", "manual__1"),
            ti.get_dr_count(**where),
        ]

    @task
    def hides():
        mask_secret("hunter22")
        print("it is hunter22")
        raise ValueError("hunter22")

    @task
    def previous():
        context = get_current_context()
        return [
            str(context["prev_data_interval_start_success"]),
            str(context["prev_start_date_success"]),
        ]

    @task
    def sets_variable():
        Variable.set("a", "b")

    @task(outlets=[Asset("thing")])
    def produces():
        return 1

    @task.branch
    def chooses():
        return "left"

    @task.sensor(mode="reschedule", poke_interval=60, timeout=3600)
    def waits():
        return False

    @task
    def keeps(task_state_store=None):
        store = get_current_context()["task_state_store"]
        assert store.get("k") is None
        store.set("k", 1)

    @task_group
    def pair(number):
        @task
        def inner(value):
            return value + 1

        @task
        def outer(value):
            return value * 10

        outer(inner(number))

    numbers = items()
    total(double.expand(item=numbers))
    Labelled.partial(task_id="labelled", map_index_template="{{ task.text }}").expand(
        text=["a", "b"]
    )
    pair.expand(number=[5, 6])
    pulls(), pushes(), counts(), hides(), previous(), sets_variable(), produces()
    waits(), keeps()
    EmptyOperator.partial(task_id="over").expand(doc_md=too_many().map(str))
    chooses() >> [EmptyOperator(task_id="left"), EmptyOperator(task_id="right")]
    DateTimeSensorAsync(task_id="defers", target_time=FAR)
    TriggerDagRunOperator(task_id="triggers", trigger_dag_id="other")
