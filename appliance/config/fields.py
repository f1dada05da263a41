"""Typed readers of single values of a document; each reports what it expected."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from appliance.config.problems import Problems, unknown_key
from appliance.config.sizes import parsed
from appliance.config.yaml_values import Value

DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([smhd])")
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_MOST_DIGITS = 18
_MOST_REPEATED = 60


def section(
    value: Value | None,
    keys: Mapping[str, object] | frozenset[str],
    problems: Problems,
    *,
    elsewhere: Callable[[str], str | None] = lambda _key: None,
    secret: bool = False,
) -> dict[str, Value]:
    """Return the known entries of a mapping; unknown ones become problems.

    Args:
        value: the mapping.
        keys: which there are.
        problems: where to tell what is wrong.
        elsewhere: says what to do with a key that belongs to another section.
        secret: whether a key without a value may be a secret in the wrong place.
    """
    if value is None or value.data is None:
        return {}
    if not isinstance(value.data, dict):
        expected = "a mapping of " + ", ".join(sorted(keys))
        if not value.name:
            expected = "keys with values, such as 'role: all'"
        problems.add(value.place, wrong_type(value, expected, secret=secret))
        return {}
    found = {}
    for key, item in value.data.items():
        if key in keys:
            found[key] = item
        else:
            what = unknown_key(
                key,
                value.name,
                list(keys),
                hint=elsewhere(key),
                secret=secret and item.data is None,
            )
            problems.add(item.key_place, what)
    return found


def named(value: Value, problems: Problems) -> dict[str, Value]:
    """Return the entries of a mapping whose keys are the user's own."""
    if isinstance(value.data, dict):
        return value.data
    expected = "a mapping, 'name: value' a line"
    problems.add(value.place, wrong_type(value, expected, secret=True))
    return {}


def text(
    value: Value | None, problems: Problems, *, secret: bool = False
) -> str | None:
    """Return text as it is written: ``0123`` keeps its zero. None when empty or wrong."""
    if value is None or value.data is None:
        return None
    if value.written is None:
        problems.add(value.place, wrong_type(value, "text", secret=secret))
    return value.written


def whole(
    value: Value | None,
    problems: Problems,
    *,
    least: int,
    most: int | None = None,
    secret: bool = False,
) -> int | None:
    """Return a whole number between two bounds, also when it is quoted."""
    if value is None or value.data is None:
        return None
    data = value.data
    digits = data.removeprefix("-") if isinstance(data, str) else ""
    is_number = digits.isascii() and digits.isdigit()
    if is_number and len(str(data)) <= _MOST_DIGITS:
        data = int(str(data))
    in_range = (
        isinstance(data, int)
        and not isinstance(data, bool)
        and data >= least
        and (most is None or data <= most)
    )
    if not in_range or not isinstance(data, int):
        bounds = f"of at least {least}" if most is None else f"from {least} to {most}"
        expected = f"a whole number {bounds}"
        problems.add(value.place, wrong_type(value, expected, secret=secret))
        return None
    return data


def duration_s(
    value: Value | None, problems: Problems, *, least: str, most_s: float
) -> float | None:
    """Return seconds; ``least`` is a duration as a person writes it."""
    if value is None or value.data is None:
        return None
    seconds = _seconds(value.written or "")
    if seconds is None:
        what = "a duration with its unit, such as 30s, 5m, 12h or 30d"
        problems.add(value.place, wrong_type(value, what))
        return None
    if seconds < (_seconds(least) or 0.0):
        problems.add(value.place, wrong_type(value, f"at least {least}"))
        return None
    if seconds > most_s:
        expected = f"at most {most_s / _UNITS_S['d']:g}d"
        problems.add(value.place, wrong_type(value, expected))
        return None
    return seconds


def _seconds(written: str) -> float | None:
    match = DURATION.fullmatch(written)
    return float(match[1]) * _UNITS_S[match[2]] if match else None


def size_bytes(value: Value, problems: Problems) -> int | None:
    """Return bytes."""
    found = parsed(value.written or "")
    if found is None:
        what = "a size with its unit, such as 200MB or 5GB"
        problems.add(value.place, wrong_type(value, what))
    return found


def choice(
    value: Value | None, problems: Problems, options: tuple[str, ...]
) -> str | None:
    """Return one of a few words."""
    if value is None or value.data is None:
        return None
    if value.written not in options:
        what = f"one of {', '.join(options)}"
        problems.add(value.place, wrong_type(value, what) + _near(value, options))
        return None
    return value.written


def yes_or_no(value: Value | None, problems: Problems) -> bool | None:
    """Return true or false; None when empty or wrong."""
    if value is None or value.data is None:
        return None
    if isinstance(value.data, bool):
        return value.data
    written = (value.written or "").lower()
    if written in ("true", "false"):  # as a reference gives it
        return written == "true"
    problems.add(value.place, wrong_type(value, "true or false"))
    return None


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return what was probably meant."""
    return next(iter(get_close_matches(name, list(known), n=1)), None)


def plain(value: Value) -> Any:
    """Return the value as JSON has it."""
    if isinstance(value.data, dict):
        return {key: plain(item) for key, item in value.data.items()}
    if isinstance(value.data, list):
        return [plain(item) for item in value.data]
    if isinstance(value.data, float) and not math.isfinite(value.data):
        return value.written
    return value.data


def _near(value: Value, options: Sequence[str]) -> str:
    if value.written is None or value.origin:
        return ""
    near = get_close_matches(value.written.lower(), options, n=1)
    return f", did you mean {near[0]}?" if near else ""


def wrong_type(value: Value, expected: str, *, secret: bool = False) -> str:
    """Return the message for a value of a wrong type: the expected one and the actual one.

    A secret is not repeated, nor what comes from the environment or a file, nor a novel.
    """
    name = f"{value.name}: " if value.name else ""
    return f"{name}expected {expected}, not {_described(value, secret=secret)}"


def _described(value: Value, *, secret: bool) -> str:
    if isinstance(value.data, dict):
        return "a mapping"
    if isinstance(value.data, list):
        return "a list"
    if value.data is None:
        return "nothing"
    if value.origin:
        return value.origin
    if secret or len(value.written or "") > _MOST_REPEATED:
        return "what is written here"
    return f"'{value.written}'"
