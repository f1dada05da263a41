"""Small DAGs, each with one thing a run can go through."""

from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.operators.hitl import HITLEntryOperator
from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync
from airflow.providers.standard.sensors.time_delta import TimeDeltaSensor
from airflow.sdk import DAG, BaseSensorOperator, PokeReturnValue, Variable, dag, task
from airflow.sdk.bases.hook import BaseHook
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.sdk.timezone import utcnow


@dag(schedule=None)
def passes_values():
    @task
    def numbers():
        return [1, 2, 3]

    @task
    def add(values):
        return sum(values)

    add(numbers())


@dag(schedule=None)
def retries_once():
    @task(retries=2, retry_delay=timedelta(seconds=1))
    def flaky(**context):
        if context["ti"].try_number == 1:
            raise ValueError("not yet")
        return context["ti"].try_number

    flaky()


@dag(schedule=None)
def fails():
    @task
    def bad():
        raise ValueError("no rows in the source")

    @task
    def never():
        return 1

    bad() >> never()


@dag(schedule=None)
def branches():
    @task.branch
    def choose():
        return "left"

    left, right = EmptyOperator(task_id="left"), EmptyOperator(task_id="right")
    join = EmptyOperator(task_id="join", trigger_rule="none_failed_min_one_success")
    choose() >> [left, right] >> join


@dag(schedule=None)
def skips():
    @task
    def skip():
        raise AirflowSkipException("nothing to do")

    @task
    def heir():
        return 1

    skip() >> heir()


@dag(schedule=None, fail_fast=True)
def fails_fast():
    @task
    def bad():
        raise AirflowFailException("enough")

    @task
    def slow():
        import time

        time.sleep(60)

    @task
    def later():
        return 1

    bad()
    slow() >> later()


@dag(schedule=None, dagrun_timeout=timedelta(seconds=3))
def times_out():
    @task
    def slow():
        import time

        time.sleep(60)

    @task
    def later():
        return 1

    slow() >> later()


class Twice(BaseSensorOperator):
    def poke(self, context):
        context["ti"].xcom_push(key="seen", value=True)
        return PokeReturnValue(
            is_done=context["ti"].get_first_reschedule_date(context) is not None,
            xcom_value="here",
        )


with DAG("reschedules", schedule=None):
    Twice(task_id="sensor", mode="reschedule", poke_interval=1)


with DAG("\u4e00" * 250, schedule=None):
    EmptyOperator(task_id="named_at_length")


@dag(schedule=None)
def maps():
    @task
    def numbers():
        return [1, 2, 3]

    @task(map_index_template="number {{ task.op_kwargs['number'] }}")
    def square(number):
        return number * number

    @task
    def total(squares):
        return sum(squares)

    total(square.expand(number=numbers()))


@dag(schedule=None)
def pushes_much():
    @task
    def large():
        return "x" * 100_000

    @task
    def many(**context):
        for number in range(40):
            context["ti"].xcom_push(key=f"k{number:02}", value="y" * 10_000)

    @task
    def check(text, **context):
        pulled = context["ti"].xcom_pull(task_ids="many", key="k39")
        return [len(text), len(pulled)]

    text = large()
    many() >> check(text)


@dag(schedule=None)
def pushes_huge():
    @task
    def huge():
        return '"é\n' * 1_250_000

    @task
    def many(**context):
        for number in range(300):
            context["ti"].xcom_push(key=f"k{number:03}", value=number)

    huge()
    many()


@dag(schedule=None)
def asks_for_secrets():
    @task
    def ask():
        connection = BaseHook.get_connection("shared_id")
        print("the password is", connection.password)
        return [connection.host, Variable.get("who")]

    ask()


@dag(schedule=None, params={"n": 7})
def says_conf():
    @task
    def say(**context):
        run = context["dag_run"]
        return [run.conf, context["params"]["n"], context["ds"], run.run_type]

    say()


@dag(schedule=None, params={"row": {"z": 1, "a": 2}})
def keeps_order():
    @task
    def give(**context):
        return {"conf": context["params"]["row"], "zeta": {"y": 1, "x": 2}, "b": 3}

    @task
    def names():
        return {"q": 1, "p": 2}

    @task
    def take(found, name):
        inner = found["conf"], found["zeta"]
        return [name, *found, *(key for one in inner for key in one)]

    take.partial(found=give()).expand(name=names())


keeps_order()
passes_values()
retries_once()
fails()
branches()
skips()
fails_fast()
times_out()
maps()
pushes_much()
pushes_huge()
asks_for_secrets()
says_conf()


class Patient(BaseSensorOperator):
    def poke(self, context):
        first = context["ti"].get_first_reschedule_date(context)
        return first is not None and utcnow() - first > timedelta(seconds=1.5)


with DAG("waits", schedule=None):
    Patient(task_id="watched", mode="reschedule", poke_interval=0.5)
    TimeDeltaSensor(task_id="timer", delta=timedelta(seconds=1), deferrable=True)
    DateTimeSensorAsync(
        task_id="triggered", target_time="2026-01-01", start_from_trigger=True
    )
    HITLEntryOperator(
        task_id="asks", subject="Well?", response_timeout=timedelta(seconds=1)
    )
