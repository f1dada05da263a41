"""The values of options that are more than text: JSON objects and times, as click callbacks."""

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import click

NO_TIME = "none"
"""What people write for no time at all."""


class _Seconds(click.FloatRange):
    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        found: float = super().convert(value, param, ctx)
        if math.isnan(found):
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return found


SECONDS = _Seconds(min=0, min_open=True)
"""More than none."""


def json_object(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> dict[str, Any]:
    """Parse a JSON object, given in place or as ``@FILE``; say where it stops being JSON."""
    if value is None:
        return {}
    text, where = value, ""
    if value.startswith("@"):
        text, where = _read(value[1:]), f"{value[1:]}: "
    try:
        parsed = json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as err:
        raise click.BadParameter(f"{where}{_position(err)}") from err
    except ValueError as err:
        raise click.BadParameter(f"{where}{err}") from err
    if not isinstance(parsed, dict):
        raise click.BadParameter(
            f'{where}must be a JSON object like {{"day": 1}}, not {text.strip()[:60]}'
        )
    return parsed


def moment(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Complete an ISO 8601 date or time to one with a zone; without one it is UTC, as in Airflow."""
    if value is None:
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError as err:
        raise click.BadParameter(
            f"{value!r} is not a time like 2026-01-31 or 2026-01-31T09:00:00+02:00"
        ) from err
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    return parsed.isoformat()


def moment_or_none(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> str | None:
    """Complete a time as ``moment`` does; ``none`` is itself."""
    return value if value == NO_TIME else moment(ctx, param, value)


def _read(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        raise click.BadParameter(f"{name} cannot be read: {err}") from err


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _position(err: json.JSONDecodeError) -> str:
    lines = err.doc.splitlines() or [""]
    line = lines[min(err.lineno, len(lines)) - 1]
    return (
        f"not JSON at line {err.lineno}, column {err.colno}: {err.msg}\n"
        f"  {line}\n"
        f"  {' ' * (err.colno - 1)}^"
    )
