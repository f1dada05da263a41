"""Checks inputs, signals and updates for what no code of ours sends. Pure.

A workflow task that fails is tried for ever, so what would make one fail is refused before it is taken in: text
that is none, JSON too deep to copy, times that are none, numbers that no timer takes. ``of_...`` say what is wrong with
a value, or return None; ``refuse`` raises that.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from appliance.dagrun import ids
from appliance.dagrun.run_conf import MOST_DEPTH
from appliance.temporal import messages

_MOST_DEPTH = MOST_DEPTH + 2
"""Of JSON: a conf, within something."""
MOST_NUMBER = 1 << 31
_MOST_SECONDS = 1e11
_LAST_YEAR = 9999

Found = Iterator[tuple[str, str]]
"""Where, and what is wrong there."""


def refuse(why: str | None) -> None:
    """End what was asked, if there is something wrong with it.

    Raises:
        ApplicationError: type ``InputRefused``.
    """
    if why is not None:
        raise ApplicationError(
            f"refused: {why}", type=messages.INPUT_REFUSED, non_retryable=True
        )


def of_anything(value: object) -> str | None:
    """Look at whatever a signal or an update brings: dataclasses, and JSON in them."""
    return next((f"{where}: {why}" for where, why in _walk(value, "", 0)), None)


def of_json(value: object) -> str | None:
    """Look at JSON that is only passed on: how deep it is."""
    level = [value]
    for _ in range(_MOST_DEPTH):
        level = [inner for one in level for inner in _members(one)]
        if not level:
            return None
    return f"more than {MOST_DEPTH} levels deep"


def of_times(*times: float | None) -> str | None:
    """Look at seconds: durations, or times since 1970."""
    for time in times:
        if time is not None and not 0 <= time <= _MOST_SECONDS:
            return f"{time} is no time"
    return None


def of_state(state: object, packed: str | None) -> str | None:
    """Look at what a workflow starts with that goes on for ever: only an earlier run of its own hands on a state."""
    if packed is not None and workflow.info().continued_run_id is None:
        return "packed: only a workflow that goes on in a fresh run has it"
    return of_anything(state)


def _walk(value: object, where: str, depth: int) -> Found:
    if depth > _MOST_DEPTH:
        yield where[:_WHERE_CHARS], f"more than {MOST_DEPTH} levels deep"
    elif isinstance(value, str):
        if not _is_text(value):
            yield where[:_WHERE_CHARS], "text that cannot be written"
    else:
        for name, inner in _inner(value):
            yield from _walk(inner, f"{where}.{name}" if where else name, depth + 1)


_WHERE_CHARS = 100


def _inner(value: object) -> Iterator[tuple[str, object]]:
    if is_dataclass(value):
        for field in fields(value):
            yield field.name, getattr(value, field.name)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            shown = ids.shown(str(key))
            yield shown, key if isinstance(key, str) else None
            yield shown, inner
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for index, inner in enumerate(value):
            yield str(index), inner


def _members(value: object) -> Collection[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def moment(text: str) -> datetime | None:
    """Read an ISO 8601 time, in UTC if it has no zone; None: it is none, or no timer reaches it."""
    try:
        found: Any = datetime.fromisoformat(text)
        if found.tzinfo is None:
            found = found.replace(tzinfo=UTC)
        found = found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found if 1 < found.year < _LAST_YEAR else None
