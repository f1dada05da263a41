"""XComs, times and labels of the task instances of one run. Pure.

The byte counts here keep a run inside Temporal's limits: XComs of the whole run, and what one workflow task sends
along with the tries it starts.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from itertools import islice
from typing import Any, Self

from appliance.dagrun.attempt import TaskExecutionResult, XComRow
from appliance.dagrun.states import PARKED
from appliance.runs.messages import XComQuestion
from appliance.temporal.messages import TaskRow

RUN_XCOM_BYTES = 256 * 1024
"""XComs a run keeps in its history; what comes later goes to the object store."""
TRY_XCOM_BYTES = 16 * 1024
"""XComs of upstream tasks one try is sent along."""
MAPPED_TRY_XCOM_BYTES = 2 * 1024
"""The same for one of many mapped instances, which all get them."""

_NAMES_BYTES = 40
"""What the names of its fields add to a row."""

Instance = tuple[str, int]


@dataclass(slots=True)
class _Times:
    start: str | None = None
    end: str | None = None
    label: str | None = None
    first_poke: str | None = None


@dataclass(slots=True)
class RunData:
    """XComs by task instance and key, in the order they were pushed; times by task instance."""

    xcoms: dict[Instance, dict[str, object]] = field(default_factory=dict)
    by_task: dict[str, set[int]] = field(default_factory=dict)
    times: dict[Instance, _Times] = field(default_factory=dict)
    used_bytes: int = 0
    wire_bytes: Counter[str] = field(default_factory=Counter)
    """By task: its rows as Temporal's converter writes them, all of each and in ASCII."""

    @property
    def budget_bytes(self) -> int:
        """Bytes of XCom the run's history may still take."""
        return max(0, RUN_XCOM_BYTES - self.used_bytes)

    def started(self, instance: Instance, at: str, *, is_poke: bool) -> None:
        """Note that a try was started; ``is_poke``: the try goes on after a reschedule."""
        times = self.times.setdefault(instance, _Times())
        if not is_poke:
            times.first_poke = None
        times.start, times.end = times.start if is_poke else at, None

    def ended(self, instance: Instance, result: TaskExecutionResult) -> None:
        """Take over what a try brought back."""
        times = self.times.setdefault(instance, _Times())
        times.first_poke = times.first_poke or result.start_date
        times.start = times.first_poke
        times.end = None if result.state in PARKED else result.end_date
        times.label = result.rendered_map_index or times.label
        for row in result.deleted:
            self._delete((row.task_id, row.map_index), row.key)
        for row in result.xcoms:
            self._put(row)

    def lost(self, instance: Instance, at: str) -> None:
        """Note that a try was stopped, or vanished."""
        self.times.setdefault(instance, _Times()).end = at

    def first_poke(self, instance: Instance) -> str | None:
        """When the current try was first started; None before its first poke ended."""
        times = self.times.get(instance)
        return times.first_poke if times else None

    def start_of(self, instance: Instance) -> str | None:
        """When the current try began."""
        times = self.times.get(instance)
        return times.first_poke or times.start if times else None

    def keys(self, instance: Instance) -> tuple[str, ...]:
        """Keys this task instance has left so far."""
        return tuple(self.xcoms.get(instance, ()))

    def answer(self, question: XComQuestion) -> list[XComRow]:
        """Return the XComs asked for, by task in the order asked, then map index."""
        task_ids = question.task_ids
        if task_ids is None:
            task_ids = tuple(sorted(self.by_task))
        rows = (
            row
            for task_id in task_ids
            for row in self._rows_of(task_id)
            if question.key is None or row.key == question.key
        )
        end = None if question.limit is None else question.start + question.limit
        return list(islice(rows, question.start, end))

    def send_along(
        self, task_ids: Sequence[str], limit_bytes: int
    ) -> tuple[tuple[XComRow, ...], tuple[str, ...], int]:
        """Choose whole upstream tasks whose XComs fit; returns rows, their task ids, bytes used."""
        rows: list[XComRow] = []
        complete: list[str] = []
        used = 0
        for task_id in task_ids:
            size = self.wire_bytes[task_id]
            if used + size <= limit_bytes:
                rows += self._rows_of(task_id)
                complete.append(task_id)
                used += size
        return tuple(rows), tuple(complete), used

    def task_row(
        self, task_id: str, map_index: int, state: str | None, try_number: int
    ) -> TaskRow:
        """Return the row people see."""
        times = self.times.get((task_id, map_index)) or _Times()
        return TaskRow(
            task_id, map_index, state, try_number, times.start, times.end, times.label
        )

    def to_json(self) -> dict[str, Any]:
        """Write everything as plain JSON values."""
        return {
            "xcoms": [
                [*instance, key, value]
                for instance, held in self.xcoms.items()
                for key, value in held.items()
            ],
            "times": [[*instance, *astuple(at)] for instance, at in self.times.items()],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what ``to_json`` wrote."""
        ledger = cls()
        for row in data["xcoms"]:
            ledger._put(XComRow(*row))
        for task_id, map_index, *times in data["times"]:
            ledger.times[task_id, map_index] = _Times(*times)
        return ledger

    def _rows_of(self, task_id: str) -> list[XComRow]:
        return [
            XComRow(task_id, index, key, value)
            for index in sorted(self.by_task.get(task_id, ()))
            for key, value in self.xcoms[task_id, index].items()
        ]

    def _put(self, row: XComRow) -> None:
        instance = (row.task_id, row.map_index)
        self._delete(instance, row.key)
        self.xcoms.setdefault(instance, {})[row.key] = row.value
        self.by_task.setdefault(row.task_id, set()).add(row.map_index)
        self.used_bytes += _size(row.value)
        self.wire_bytes[row.task_id] += _wire_size(instance, row.key, row.value)

    def _delete(self, instance: Instance, key: str) -> None:
        held = self.xcoms.get(instance)
        if held is not None and key in held:
            value = held.pop(key)
            self.used_bytes -= _size(value)
            self.wire_bytes[instance[0]] -= _wire_size(instance, key, value)


def shorten(rows: Iterable[TaskRow], limit: int) -> tuple[TaskRow, ...]:
    """Keep at most ``limit`` rows: failed ones first, then those that never ran, then the others."""
    order = {"failed": 0, "upstream_failed": 1, None: 2, "skipped": 3}
    ranked = sorted(rows, key=lambda row: order.get(row.state, 4))
    return tuple(ranked[:limit])


def _wire_size(instance: Instance, key: str, value: object) -> int:
    return len(json.dumps((*instance, key, value))) + _NAMES_BYTES


def _size(value: object) -> int:
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())
