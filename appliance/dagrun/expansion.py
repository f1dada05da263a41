"""Dynamic task mapping: how long a mapping is, and which upstream instances one instance depends on.

Pure arithmetic. A length is None while a task it is read from has not ended.

Source: Airflow 3.3: ``serialization/definitions/{mappedoperator,xcom_arg}.py``, ``models/expandinput.py`` and
``TaskInstance.get_relevant_upstream_map_indexes``.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class TaskOutput:
    """The return value of a task."""

    task_id: str


@dataclass(frozen=True, slots=True)
class Zip:
    """``a.zip(b)``: as long as the shortest part, or the longest one when filled."""

    parts: tuple["MapSource", ...]
    is_filled: bool = False


@dataclass(frozen=True, slots=True)
class Concat:
    """``a.concat(b)``."""

    parts: tuple["MapSource", ...]


MapSource = int | TaskOutput | Zip | Concat
"""What one argument is mapped over; an int is the length of a literal."""

LengthOf = Callable[[str], int | None]


def read_source(data: Any) -> MapSource:
    """Read one mapping argument from a plan."""
    if isinstance(data, int):
        return data
    if "of" in data:
        return TaskOutput(data["of"])
    if "zip" in data:
        parts = tuple(read_source(part) for part in data["zip"])
        return Zip(parts, is_filled=data.get("fill", False))
    return Concat(tuple(read_source(part) for part in data["concat"]))


def write_source(source: MapSource) -> Any:
    """Write one mapping argument into a plan."""
    match source:
        case int():
            return source
        case TaskOutput(task_id):
            return {"of": task_id}
        case Zip(parts, is_filled):
            written = {"zip": [write_source(part) for part in parts]}
            return {**written, "fill": True} if is_filled else written
        case Concat(parts):
            return {"concat": [write_source(part) for part in parts]}


def references(sources: Iterable[MapSource]) -> frozenset[str]:
    """Return the ids of the tasks these arguments are read from."""
    found: set[str] = set()
    todo = list(sources)
    while todo:
        match todo.pop():
            case TaskOutput(task_id):
                found.add(task_id)
            case Zip(parts) | Concat(parts):
                todo.extend(parts)
            case int():
                pass
    return frozenset(found)


def length(source: MapSource, length_of: LengthOf) -> int | None:
    """Return the length of one argument."""
    match source:
        case int():
            return source
        case TaskOutput(task_id):
            return length_of(task_id)
        case Zip(parts) | Concat(parts):
            lengths = [length(part, length_of) for part in parts]
            known = [n for n in lengths if n is not None]
            if len(known) < len(lengths):
                return None
            if isinstance(source, Concat):
                return sum(known)
            return max(known) if source.is_filled else min(known)


def product(sources: Iterable[MapSource], length_of: LengthOf) -> int | None:
    """Return the number of combinations of all arguments; 0 when there are none."""
    lengths = [length(source, length_of) for source in sources]
    known = [n for n in lengths if n is not None]
    if len(known) < len(lengths):
        return None
    return math.prod(known) if known else 0


@dataclass(frozen=True, slots=True)
class GroupPosition:
    """Where a task instance stands among the mapped groups it shares with an upstream task."""

    map_index: int
    count: int
    """How many instances its task has."""
    outer: int
    """How many times the innermost shared group is expanded."""


def relevant_indexes(place: GroupPosition, *, is_mapped_further: bool) -> range:
    """Return the map indexes of an upstream task in the same mapped group that an instance depends on.

    ``is_mapped_further`` says whether the upstream is expanded again inside the shared group. The width of
    the range then comes from the downstream task's own count, as in Airflow.
    """
    index = place.map_index * place.outer // place.count
    if not is_mapped_further:
        return range(index, index + 1)
    width = place.count // place.outer
    return range(index * width, index * width + width)


def dependent_indexes(place: GroupPosition, *, is_mapped_further: bool) -> range | None:
    """Return the map indexes of a downstream task that have an upstream's index among their relevant ones.

    The inverse of ``relevant_indexes``: ``place.map_index`` is the upstream's, ``count`` the downstream task's.
    None for all of them.
    """
    index, count, outer = place.map_index, place.count, place.outer
    if is_mapped_further:
        width = count // outer
        if not width:
            return None
        index //= width
    return range(-(-index * count // outer), -(-(index + 1) * count // outer))
