"""Tasks that are sent SIGTERM, and tasks with a time limit that go on after they were deferred."""

import os
import time
from datetime import timedelta
from pathlib import Path

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

LIMIT = timedelta(seconds=10)


def note(context, text):
    with Path(context["dag_run"].conf["notes"]).open("a") as notes:
        notes.write(f"{text}\n")


def noting(name):
    return lambda context: note(context, name)


class Loops(BaseOperator):
    """Loops until it is killed, and then ends well."""

    is_killed = False

    def execute(self, context):
        self.context = context
        note(context, os.getpid())
        self.work(context)

    def work(self, context):
        while not self.is_killed:
            time.sleep(0.01)

    def on_kill(self):
        if context := getattr(self, "context", None):
            note(context, "on_kill")
        self.is_killed = True


class Sleeps(Loops):
    def work(self, context):
        time.sleep(60)


class Swallows(Loops):
    def work(self, context):
        try:
            time.sleep(60)
        except BaseException:  # noqa: BLE001 - what users write
            return


class Skips(Swallows):
    def work(self, context):
        super().work(context)
        raise AirflowSkipException


class Defers(Swallows):
    def work(self, context):
        super().work(context)
        self.defer(trigger=TimeDeltaTrigger(LIMIT), method_name="execute")


class Leaves(Sleeps):
    def on_kill(self):
        super().on_kill()
        os._exit(0)


class Breaks(Sleeps):
    def on_kill(self):
        super().on_kill()
        raise ValueError("killed")


class Waits(Loops):
    """Is deferred, and goes on for as long as ``conf`` says."""

    def __init__(self, timeout_s=None, **kwargs):
        super().__init__(**kwargs)
        self.timeout_s = timeout_s

    def work(self, context):
        timeout = timedelta(seconds=self.timeout_s) if self.timeout_s else None
        self.defer(
            trigger=TimeDeltaTrigger(LIMIT * 10), method_name="go_on", timeout=timeout
        )

    def go_on(self, context, event=None):
        self.context = context
        note(context, "goes on")
        time.sleep(context["dag_run"].conf["sleep_s"])


CALLBACKS = ("on_failure_callback", "on_retry_callback", "on_success_callback")
with DAG("execution", default_args={name: noting(name) for name in CALLBACKS}):
    for kind in (Loops, Sleeps, Swallows, Skips, Defers, Leaves, Breaks):
        kind(task_id=kind.__name__.lower())
    Waits(task_id="waits", execution_timeout=LIMIT)
    Waits(task_id="waits_less", execution_timeout=LIMIT, timeout_s=3)
    Waits(task_id="waits_more", execution_timeout=LIMIT, timeout_s=30)
