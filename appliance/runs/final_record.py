"""The record of a run that its last event keeps: all task instances and XComs. Pure.

It holds what a run that goes on from there would need (``handover`` carries the same), so that one request answers
every question about a run that has ended.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from appliance.dagrun.attempt import RunFacts, XComRow
from appliance.dagrun.machine import DagRun
from appliance.runs.messages import DagExecutionResult, XComQuestion
from appliance.runs.run_data import RunData
from appliance.temporal import compression, limits
from appliance.temporal.messages import TaskRow


@dataclass(frozen=True, slots=True)
class FinalRecord:
    """What people ask of a run that has ended."""

    tasks: Sequence[TaskRow]
    """All of them, by task id and map index."""
    xcoms: Sequence[XComRow]
    """All of them, in the order in which the run answers; references are not followed."""

    @classmethod
    def of(cls, text: str) -> Self:
        """Read what ``onto`` wrote.

        Raises:
            ValueError: it did not.
        """
        body: dict[str, Any] = compression.unpacked(text)
        ledger = RunData.from_json(body["ledger"])
        tasks = [ledger.task_row(*row) for row in body["rows"]]
        return cls(tasks, ledger.answer(XComQuestion()))


def onto(
    result: DagExecutionResult, facts: RunFacts, machine: DagRun, ledger: RunData
) -> DagExecutionResult:
    """Add it to what the run ends with; leave it out when that could not be sent."""
    body = {
        "facts": asdict(facts),
        "machine": machine.to_json(),
        "ledger": ledger.to_json(),
        "rows": machine.rows(),
    }
    full = replace(result, finale=compression.packed(body))
    return full if limits.size_of(asdict(full)) < limits.PAYLOAD_BYTES else result
