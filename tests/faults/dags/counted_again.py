"""The same with retries."""

from datetime import timedelta

from airflow.sdk import dag, task
from counting import count

RETRIES = {"retries": 2, "retry_delay": timedelta(seconds=0.5)}


@dag(schedule=None, default_args=RETRIES)
def counted_again():
    @task
    def first(**context):
        count(context, 0.0, 0.5)
        return [1, 2, 3]

    @task
    def each(number, **context):
        count(context, 0.2, 2.0)

    @task
    def last(**context):
        count(context, 0.0, 0.5)

    each.expand(number=first()) >> last()


counted_again()
