"""A trigger that fires with what it was given."""

from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent


class AtOnce(BaseTrigger):
    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return "passing_trigger.AtOnce", {"value": self.value}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        yield TriggerEvent(self.value)
