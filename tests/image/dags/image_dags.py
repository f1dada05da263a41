"""DAGs that a test of the image runs."""

import socket
import time
from datetime import datetime
from pathlib import Path

from airflow.sdk import Variable, dag, task


@dag(start_date=datetime(2026, 1, 1), schedule=None)
def fails():
    @task
    def explode():
        raise ValueError("as meant")

    explode()


@dag(start_date=datetime(2026, 1, 1), schedule=None)
def lasts():
    """Wait for the file /gate/open; say in /gate which container has begun."""

    @task
    def first():
        return "kept"

    @task
    def wait(value):
        gate = Path("/gate")
        with (gate / "begun").open("a") as begun:
            begun.write(f"{socket.gethostname()}\n")
        while not (gate / "open").exists():
            time.sleep(0.05)
        return [value, Variable.get("secret", default=None)]

    wait(first())


@dag(start_date=datetime(2026, 1, 1), schedule=None)
def passes_much():
    """Pass more than is kept in history, from one worker to any other."""

    @task
    def make():
        return "x" * 100_000

    @task
    def measure(text):
        return len(text)

    measure.partial().expand(text=[make()] * 4)


fails()
lasts()
passes_much()
