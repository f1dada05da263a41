"""What the bench runs: a chain of 50 empty tasks, a fan-out of 100, and one empty task."""

from airflow.sdk import dag, task


@task
def nothing() -> None:
    """Do nothing: what is measured is everything around it."""


@dag(schedule=None)
def bench_chain():
    previous = nothing()
    for _ in range(49):
        following = nothing()
        previous >> following
        previous = following


@dag(schedule=None)
def bench_fan():
    for _ in range(100):
        nothing()


@dag(schedule=None)
def bench_one():
    nothing()


bench_chain()
bench_fan()
bench_one()
