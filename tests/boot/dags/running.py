"""DAGs for a box whose configuration is changed and whose logs are read while it runs."""

import os
import time
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG, BaseOperator, Param, Variable, get_current_context, task
from airflow.sdk.bases.hook import BaseHook
from airflow.triggers.base import BaseTrigger, TaskSuccessEvent

with DAG("says_settings"):

    @task
    def say():
        return {
            "colour": Variable.get("colour"),
            "connection": BaseHook.get_connection("db").password,
            "whole": os.environ.get("APPLIANCE_CONFIG"),
        }

    say()

with DAG(
    "chatters",
    params={"gate": Param(type="string")},
    on_success_callback=lambda _context: print("all have spoken"),
):

    @task(retries=1, retry_delay=timedelta(seconds=0.1))
    def chatter(number):
        attempt = get_current_context()["ti"].try_number
        print(f"number {number} speaks in try {attempt}")
        if number == 2 and attempt == 1:
            raise ValueError("not this time")

    @task
    def wait(gate):
        while not Path(gate).exists():
            time.sleep(0.1)
        print("the gate is open")

    chatter.expand(number=[1, 2]) >> wait("{{ params.gate }}")


class Speaker(BaseTrigger):
    """Speaks, ends its task, and speaks again."""

    def serialize(self):
        return "running.Speaker", {}

    async def run(self):
        self.log.info("the trigger speaks")
        yield TaskSuccessEvent()

    async def cleanup(self):
        self.log.info("the trigger has spoken")


class Deferring(BaseOperator):
    def execute(self, context):
        print("the task speaks")
        self.defer(trigger=Speaker(), method_name="never")


with DAG("defers"):
    Deferring(task_id="waits")
