"""Takes single values out of a document: each checks its type and says what it expected."""

import math
import re
from collections.abc import Mapping
from typing import Any

from appliance.config.document import Value
from appliance.config.problems import Problems, unknown_key

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([smhd])")
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LATER = frozenset({"pools", "schedules", "airflow", "include"})


def section(
    value: Value | None, keys: Mapping[str, object] | frozenset[str], problems: Problems
) -> dict[str, Value]:
    """Return the known entries of a mapping; unknown ones become problems."""
    if value is None or value.data is None:
        return {}
    if not isinstance(value.data, dict):
        problems.add(value.place, wrong_type(value, "a mapping"))
        return {}
    found = {}
    for key, item in value.data.items():
        if key in keys:
            found[key] = item
        elif not value.name and key in _LATER:
            what = f"'{key}' is not supported yet by this version"
            problems.add(item.key_place, what)
        else:
            what = unknown_key(key, value.name, list(keys))
            problems.add(item.key_place, what)
    return found


def text(value: Value | None, problems: Problems) -> str | None:
    """Return text as it is written: ``0123`` keeps its zero. None when empty or wrong."""
    if value is None or value.data is None:
        return None
    if value.written is None:
        problems.add(value.place, wrong_type(value, "text"))
    return value.written


def whole(
    value: Value | None, problems: Problems, *, least: int, most: int | None = None
) -> int | None:
    """Return a whole number between two bounds, also when it is quoted."""
    if value is None or value.data is None:
        return None
    data = value.data
    if isinstance(data, str) and data.isascii() and data.isdigit():
        data = int(data)
    in_range = (
        isinstance(data, int)
        and not isinstance(data, bool)
        and data >= least
        and (most is None or data <= most)
    )
    if not in_range or not isinstance(data, int):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        problems.add(value.place, wrong_type(value, f"a whole number {bounds}"))
        return None
    return data


def duration_s(
    value: Value | None, problems: Problems, *, least_s: float, least: str
) -> float | None:
    """Return seconds; ``least`` spells the lower bound for the message."""
    if value is None or value.data is None:
        return None
    match = _DURATION.fullmatch(value.written or "")
    if not match:
        what = "a duration with its unit, such as 30s, 5m, 12h or 30d"
        problems.add(value.place, wrong_type(value, what))
        return None
    seconds = float(match[1]) * _UNITS_S[match[2]]
    if seconds < least_s:
        problems.add(value.place, wrong_type(value, f"at least {least}"))
        return None
    return seconds


def choice(
    value: Value | None, problems: Problems, options: tuple[str, ...]
) -> str | None:
    """Return one of a few words."""
    if value is None or value.data is None:
        return None
    if value.written not in options:
        what = f"one of {', '.join(options)}"
        problems.add(value.place, wrong_type(value, what))
        return None
    return value.written


def plain(value: Value) -> Any:
    """Return the value as JSON has it."""
    if isinstance(value.data, dict):
        return {key: plain(item) for key, item in value.data.items()}
    if isinstance(value.data, list):
        return [plain(item) for item in value.data]
    if isinstance(value.data, float) and not math.isfinite(value.data):
        return value.written
    return value.data


def wrong_type(value: Value, expected: str, *, secret: bool = False) -> str:
    """Say what was expected and what is there; a secret is not repeated."""
    name = f"{value.name}: " if value.name else ""
    return f"{name}expected {expected}, not {_described(value, secret=secret)}"


def _described(value: Value, *, secret: bool) -> str:
    if isinstance(value.data, dict):
        return "a mapping"
    if isinstance(value.data, list):
        return "a list"
    if value.data is None:
        return "nothing"
    if secret:
        return "what is written here"
    return f"'{value.written}'"
