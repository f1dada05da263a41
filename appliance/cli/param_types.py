"""Click callbacks for option values that are more than text: JSON objects and times."""

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import click

from appliance.dagrun.run_conf import TOO_DEEP, TOO_LONG, objection
from appliance.errors import UsageError

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
    prefix = f"{param.opts[0]}: {where}"
    try:
        parsed = _parsed(text, prefix)
    except json.JSONDecodeError as err:
        raise click.BadParameter(f"{where}{_position(err)}") from err
    if not isinstance(parsed, dict):
        raise click.BadParameter(
            f'{where}must be a JSON object like {{"day": 1}}, not {text.strip()[:60]}'
        )
    if (why := objection(parsed)) is not None:
        raise _Refused(f"{prefix}{why}")
    return parsed


class _Refused(click.ClickException):
    """JSON, but none that can be passed on; said in one line."""

    exit_code = UsageError.exit_code


def _parsed(text: str, prefix: str) -> Any:
    def refuse(constant: str) -> NoReturn:
        raise _Refused(f"{prefix}{constant} is not JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except json.JSONDecodeError:
        raise
    except RecursionError as err:
        raise _Refused(f"{prefix}{TOO_DEEP}") from err
    except ValueError as err:  # Python's limit, which is no error of JSON
        raise _Refused(f"{prefix}{TOO_LONG}") from err


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
    try:
        parsed.astimezone(UTC)
    except OverflowError as err:
        raise click.BadParameter(
            f"{value!r} is beyond the years 1 to 9999 in UTC"
        ) from err
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


def _position(err: json.JSONDecodeError) -> str:
    lines = err.doc.splitlines() or [""]
    line = lines[min(err.lineno, len(lines)) - 1]
    return (
        f"not JSON at line {err.lineno}, column {err.colno}: {err.msg}\n"
        f"  {line}\n"
        f"  {' ' * (err.colno - 1)}^"
    )
