"""Many deferred waits, each for a moment of its own that a file tells in the end."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, BaseOperator, task
from airflow.triggers.base import BaseTrigger, TriggerEvent

LOOK_S = 5.0


class AtTold(BaseTrigger):
    """Fires at the moment that ``{first, step}`` in a file give its number."""

    def __init__(self, path: str, number: int) -> None:
        super().__init__()
        self.path, self.number = path, number

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "bench_waits.AtTold", {"path": self.path, "number": self.number}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        file = Path(self.path)
        while not file.exists():  # noqa: ASYNC110, ASYNC240 - a look at a file
            await asyncio.sleep(LOOK_S)
        told = json.loads(file.read_text())  # noqa: ASYNC240
        moment = told["first"] + told["step"] * self.number
        await asyncio.sleep(max(0.0, moment - time.time()))
        yield TriggerEvent(None)


class Waits(BaseOperator):
    """Defers at once."""

    template_fields = ("path",)

    def __init__(self, path: str, number: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.path, self.number = path, number

    def execute(self, context: Any) -> None:
        self.defer(trigger=AtTold(self.path, self.number), method_name="go_on")

    def go_on(self, context: Any, event: Any) -> None:
        """Nothing is left to do."""


with DAG("bench_waits", params={"path": "", "count": 1}):

    @task
    def numbers(params: dict[str, Any] | None = None) -> list[int]:
        assert params is not None
        return list(range(params["count"]))

    Waits.partial(task_id="wait", path="{{ params.path }}").expand(number=numbers())
