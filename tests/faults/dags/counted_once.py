"""Tasks without retries: what fails once has failed."""

from airflow.sdk import dag, task
from counting import count


@dag(schedule=None)
def counted_once():
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


counted_once()
