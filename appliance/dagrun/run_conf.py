"""Checks the conf of a run: JSON that reaches a task unchanged. Pure."""

import math
from typing import Any

MOST_DEPTH = 100
"""Lists and objects within one another; what reads JSON recursively on the way takes a few hundred."""
TOO_DEEP = f"more than {MOST_DEPTH} lists or objects within one another"
TOO_LONG = "an integer of more than 4300 digits"
"""Python reads and writes no longer one as text."""
_HALF = r"half of a surrogate pair (\ud800 to \udfff), which is no character"
_NO_NUMBER = "not JSON; its numbers reach to 1.8e308"
_MOST_PLACE_CHARS = 60


def objection(conf: Any) -> str | None:
    """Say in a line what of a conf would not reach a task as it is; None: all of it does."""
    left: list[_Placed] = [((), conf)]
    while left:
        place, value = left.pop()
        if (why := _wrong(value)) is not None:
            return f"{_named(place)}{why}"
        if len(place) > MOST_DEPTH:
            return TOO_DEEP
        left += _inside(place, value)
    return None


_Placed = tuple[tuple[str, ...], Any]


def _inside(place: tuple[str, ...], value: Any) -> list[_Placed]:
    if isinstance(value, dict):
        return [((*place, key), item) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [((*place, f"[{index}]"), item) for index, item in enumerate(value)]
    return []


def _wrong(value: Any) -> str | None:
    """Say what is wrong with a value, what it contains aside."""
    match value:
        case None | bool() | list() | tuple():
            return None
        case dict():
            return next(filter(None, map(_wrong_key, value)), None)
        case str():
            return None if _is_text(value) else f"text with {_HALF}"
        case int():
            return None if _is_readable(value) else TOO_LONG
        case float():
            return None if math.isfinite(value) else f"{value} is {_NO_NUMBER}"
        case _:
            return f"a {type(value).__name__} is not JSON"


def _wrong_key(key: Any) -> str | None:
    if not isinstance(key, str):
        return f"the key {key!a} is not text"
    return None if _is_text(key) else f"the key {key!a} has {_HALF}"


def _is_text(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_readable(number: int) -> bool:
    try:
        str(number)
    except ValueError:
        return False
    return True


def _named(place: tuple[str, ...]) -> str:
    """Name a place as ``a.b[3]: ``, shortened."""
    shown = "".join(part if part[:1] == "[" else f".{part}" for part in place)
    name = ascii(shown.removeprefix("."))[1:-1]
    if len(name) > _MOST_PLACE_CHARS:
        name = f"{name[:_MOST_PLACE_CHARS]}..."
    return name and f"{name}: "
