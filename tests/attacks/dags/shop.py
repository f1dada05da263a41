"""The DAG folder of an attacked appliance: a task, one that waits, and what must never be called."""

import os
from pathlib import Path
from typing import Any

from airflow.providers.standard.triggers.file import FileTrigger
from airflow.sdk import DAG, BaseHook, BaseOperator, Variable, task


class Waits(BaseOperator):
    def execute(self, context: Any) -> None:
        self.defer(
            trigger=FileTrigger(os.environ["NEVER_THERE"], poke_interval=0.5),
            method_name="go_on",
            kwargs={"word": "kept"},
        )

    def go_on(self, context: Any, event: Any, word: str) -> str:
        return word

    def wipe(self, context: Any, **given: Any) -> None:
        Path(os.environ["MARKS"], "wiped").write_text(str(given))


with DAG("shop", schedule=None):

    @task
    def sell() -> str:
        assert Variable.get("secret_word")
        assert BaseHook.get_connection("warehouse").password
        return "sold"

    sell()

with DAG("waiting", schedule=None):
    Waits(task_id="wait")
