"""DAGs with callbacks of their own, which write what they were told into the file ``conf["told"]`` names."""

import json
import time
from datetime import timedelta
from pathlib import Path

from airflow.sdk import Variable, dag, task


def tell(context):
    run = context["dag_run"]
    ti = context.get("ti")
    told = {
        "reason": context["reason"],
        "run_id": context["run_id"],
        "state": run.state,
        "has_ended": run.end_date is not None,
        "task": ti and [ti.task_id, ti.map_index, ti.try_number],
        "pulled": ti and ti.xcom_pull(task_ids="first"),
        "variable": Variable.get("greeting", default=None),
    }
    print("told of", context["reason"])
    with Path(run.conf["told"]).open("a") as file:
        file.write(json.dumps(told) + "\n")


def break_down(context):
    raise RuntimeError("this callback is broken")


@dag(schedule=None, on_success_callback=tell, on_failure_callback=break_down)
def tells_of_success():
    @task
    def first():
        return 1

    @task
    def last(value):
        return value

    last(first())


@dag(schedule=None, on_failure_callback=[break_down, tell])
def tells_of_failure():
    @task
    def first():
        return 1

    @task(retries=1, retry_delay=timedelta(seconds=0.1))
    def bad(value):
        raise ValueError("no rows")

    bad(first())


@dag(
    schedule=None,
    dagrun_timeout=timedelta(seconds=3),
    on_failure_callback=tell,
    on_success_callback=break_down,
)
def tells_of_timeout():
    @task
    def first():
        return 1

    @task
    def endless(value):
        time.sleep(600)

    endless(first())


@dag(schedule=None)
def waits_long():
    @task
    def wait():
        time.sleep(3600)

    wait()


@dag(schedule=None, max_active_runs=1)
def waits_in_turn():
    @task
    def wait():
        time.sleep(3600)

    wait()


def note(name):
    def tell_of_try(context):
        told = Path(context["dag_run"].conf["told"])
        with told.open("a") as file:
            file.write(json.dumps([name, context["ti"].try_number]) + "\n")

    return tell_of_try


@dag(schedule=None)
def tells_of_loss():
    kinds = ("on_failure_callback", "on_retry_callback", "on_success_callback")

    @task(retries=1, **{kind: note(kind) for kind in kinds})
    def lost_once(**context):
        note("begins")(context)
        if context["ti"].try_number == 1:
            time.sleep(600)

    lost_once()


tells_of_loss()
tells_of_success()
tells_of_failure()
tells_of_timeout()
waits_long()
waits_in_turn()
