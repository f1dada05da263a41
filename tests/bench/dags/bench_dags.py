"""What the bench runs: chains of 50 empty tasks, a fan-out of 100, and one empty task."""

from airflow.sdk import dag, task


@task
def nothing() -> None:
    """Do nothing: what is measured is everything around it."""


def chain_of(**each):
    """Run 50 of them, one after the other."""
    previous = nothing.override(**each)()
    for _ in range(49):
        following = nothing.override(**each)()
        previous >> following
        previous = following


@dag(schedule=None)
def bench_chain():
    chain_of()


@dag(schedule=None)
def bench_pooled():
    chain_of(pool="narrow")


@dag(schedule=None, max_active_runs=1)
def bench_in_turn():
    nothing()


@dag(schedule=None)
def bench_fan():
    for _ in range(100):
        nothing()


@dag(schedule=None)
def bench_one():
    nothing()


bench_chain()
bench_pooled()
bench_in_turn()
bench_fan()
bench_one()
