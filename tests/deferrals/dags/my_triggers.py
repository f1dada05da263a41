"""Triggers of a user, importable from the DAG folder."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from airflow.sdk import Variable
from airflow.sdk.bases.hook import BaseHook
from airflow.triggers.base import (
    BaseEventTrigger,
    BaseTrigger,
    TaskFailedEvent,
    TaskSkippedEvent,
    TaskSuccessEvent,
    TriggerEvent,
)

_LISTENERS = 3
ENDS = {
    "success": TaskSuccessEvent,
    "failed": TaskFailedEvent,
    "skipped": TaskSkippedEvent,
}


class FileTrigger(BaseTrigger):
    """Fires when a file is there; notes each start, firing and kill beside it."""

    def __init__(self, path: str, secret: str = "", poll_s: float = 0.1) -> None:
        super().__init__()
        self.path = path
        self.secret = secret
        self.poll_s = poll_s

    def serialize(self) -> tuple[str, dict[str, Any]]:
        kwargs = {"path": self.path, "secret": self.secret, "poll_s": self.poll_s}
        return "my_triggers.FileTrigger", kwargs

    def note(self, what: str) -> None:
        with Path(f"{self.path}.notes").open("a") as notes:
            notes.write(f"{what}\n")

    async def run(self) -> AsyncIterator[TriggerEvent]:
        self.note("began")
        self.log.info("waiting with %s", self.secret)
        while not Path(self.path).exists():  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(self.poll_s)
        self.note("fired")
        yield TriggerEvent({"path": self.path, "pair": (1, 2)})

    async def on_kill(self) -> None:
        self.note("killed")

    async def cleanup(self) -> None:
        self.note("cleaned up")


class AskingTrigger(BaseTrigger):
    """Says what it can find out."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "my_triggers.AskingTrigger", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        from airflow.sdk.execution_time.xcom import XCom

        assert self.task_instance is not None
        connection = await BaseHook.aget_connection("warehouse")
        ti = self.task_instance
        asked = {"dag_id": ti.dag_id, "run_id": ti.run_id}
        pulled = await asyncio.to_thread(
            XCom.get_one, key="return_value", task_id="before", **asked
        )
        yield TriggerEvent(
            {
                "host": connection.host,
                "variable": await asyncio.to_thread(Variable.get, "greeting"),
                "synchronous": Variable.get("greeting"),
                "pulled": pulled,
            }
        )


class BrokenTrigger(BaseTrigger):
    """Fails."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "my_triggers.BrokenTrigger", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        raise ValueError("the trigger broke")
        yield


class EndingTrigger(BaseTrigger):
    """Ends the task."""

    def __init__(self, state: str) -> None:
        super().__init__()
        self.state = state

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "my_triggers.EndingTrigger", {"state": self.state}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        yield ENDS[self.state](xcoms={"return_value": 7})


class SharedTrigger(BaseEventTrigger):
    """Three share one stream."""

    opened = 0
    listening = 0

    def __init__(self, wanted: int) -> None:
        super().__init__()
        self.wanted = wanted

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "my_triggers.SharedTrigger", {"wanted": self.wanted}

    def shared_stream_key(self) -> tuple[str]:
        return ("shared",)

    @classmethod
    async def open_shared_stream(cls, _kwargs: dict[str, Any]) -> AsyncIterator[Any]:
        cls.opened += 1
        number = 0
        while True:
            await asyncio.sleep(0.2)
            number += 1
            yield number

    async def filter_shared_stream(
        self, shared_stream: AsyncIterator[Any]
    ) -> AsyncIterator[TriggerEvent]:
        type(self).listening += 1
        async for number in shared_stream:
            if type(self).listening == _LISTENERS and number % 3 == self.wanted:
                yield TriggerEvent({"opened": type(self).opened})
                return

    async def run(self) -> AsyncIterator[TriggerEvent]:
        raise NotImplementedError
        yield
