"""What a try may ask about its own DAG run while it runs.

Everything else a try needs was sent along with it; this is for what it could not know beforehand.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from appliance.config.model import Secrets
from appliance.dagrun.tries import XComRow


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """One task instance of the run. ``map_index`` is -1 for a task that is not mapped, or not expanded yet."""

    task_id: str
    map_index: int
    state: str | None
    duration_s: float | None = None


class RunView(Protocol):
    """The run a try belongs to."""

    async def xcoms(
        self, task_ids: Sequence[str], *, key: str | None
    ) -> Sequence[XComRow]:
        """Return the XComs of these tasks, every map index; every key when ``key`` is None."""
        ...

    async def instances(self, task_ids: Sequence[str] | None) -> Sequence[InstanceRow]:
        """Return the instances of these tasks; of every task when None. An unknown task id has none."""
        ...

    async def secrets(self) -> Secrets | None:
        """Return the connections and variables the run was submitted with, opened."""
        ...
