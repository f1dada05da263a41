"""Reader of the schedules of appliance.yaml: runs of a DAG by the clock, besides the schedule of its file."""

import json
import re
import zoneinfo
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from appliance.config import fields
from appliance.config.model import ScheduleSettings
from appliance.config.problems import Problems
from appliance.config.yaml_values import Value

_KEYS = frozenset(
    {
        "dag",
        "cron",
        "every",
        "timezone",
        "conf",
        "paused",
        "catchup",
        "start_date",
        "end_date",
        "max_active_runs",
    }
)
_NAME = re.compile(r"[A-Za-z0-9_.~:+-]{1,100}")  # it becomes a part of run ids
_ACTIVE_RUNS = 16
_CONF_BYTES = 250_000
_ALL_CONF_BYTES = 1_000_000
"""The workflow that makes the runs remembers them all, in 2 MB with all else."""
_MOST_RUNS = 10_000
_MOST_S = 366 * 86400.0

JSON_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "dag": {"type": "string", "description": "The id of the DAG to run."},
        "cron": {"type": "string", "description": "As Airflow reads it, or a preset."},
        "every": {"type": "string", "description": "Instead of cron: 30m, 12h."},
        "timezone": {"type": "string", "description": "Of the cron; UTC if unset."},
        "conf": {"type": "object", "description": "What every run is given."},
        "paused": {"type": "boolean"},
        "catchup": {
            "type": "boolean",
            "description": "Whether missed runs are made up for.",
        },
        "start_date": {"type": "string"},
        "end_date": {"type": "string"},
        "max_active_runs": {"type": "integer", "minimum": 1},
    },
    "required": ["dag"],
    "additionalProperties": False,
}
"""One schedule, for editors."""


def schedules(
    written: Mapping[str, Value], problems: Problems
) -> tuple[ScheduleSettings, ...]:
    """Read every schedule; a wrong one is left out and reported in ``problems``."""
    found = [_schedule(name, value, problems) for name, value in written.items()]
    read = tuple(one for one in found if one is not None)
    size = sum(_size(one.conf) for one in read)
    if size > _ALL_CONF_BYTES:
        largest = max(written, key=lambda name: len(repr(written[name].data)))
        what = f"conf of all schedules is {size / 1000:.0f} kB as JSON, at most "
        advice = "put the largest in a file and pass its name"
        place = written[largest].key_place
        problems.add(place, f"{what}{_ALL_CONF_BYTES / 1000:.0f}: {advice}")
    return read


def _schedule(name: str, value: Value, problems: Problems) -> ScheduleSettings | None:
    if not _NAME.fullmatch(name):
        what = f"'{name}' cannot be the name of a schedule: letters, digits and _.~:+-"
        problems.add(value.key_place, what)
    if not isinstance(value.data, dict):
        expected = "a mapping such as {dag: my_etl, cron: 0 2 * * *}"
        problems.add(value.place, fields.wrong_type(value, expected))
        return None
    keys = fields.section(value, _KEYS, problems)
    dag_id = fields.text(keys.get("dag"), problems)
    is_known = keys.keys() == value.data.keys()
    if not dag_id and "dag" not in keys and is_known:
        problems.add(value.key_place, f"{value.name}: 'dag' is missing, a DAG id")
    start = _moment(keys.get("start_date"), problems)
    catchup = fields.yes_or_no(keys.get("catchup"), problems)
    if catchup and start is None and "start_date" not in keys:
        what = f"{value.name}: catchup needs a start_date, from when on to make runs"
        problems.add(keys["catchup"].place, what)
    most = fields.whole(keys.get("max_active_runs"), problems, least=1, most=_MOST_RUNS)
    cron, every_s = _rhythm(value, keys, problems) if is_known else (None, None)
    return ScheduleSettings(
        name=name,
        dag_id=dag_id or "",
        cron=cron,
        every_s=every_s,
        timezone=_timezone(keys.get("timezone"), problems),
        conf=_conf(keys.get("conf"), problems),
        is_paused=fields.yes_or_no(keys.get("paused"), problems) or False,
        catchup=catchup or False,
        start=start,
        end=_moment(keys.get("end_date"), problems),
        max_active_runs=most or _ACTIVE_RUNS,
        place=str(keys["dag"].place if "dag" in keys else value.key_place),
    )


def _rhythm(
    value: Value, keys: Mapping[str, Value], problems: Problems
) -> tuple[str | None, float | None]:
    if ("cron" in keys) == ("every" in keys):
        problems.add(value.key_place, f"{value.name}: give one of 'cron' and 'every'")
        return None, None
    if "every" in keys:
        every_s = fields.duration_s(keys["every"], problems, least="1s", most_s=_MOST_S)
        return None, every_s
    cron = fields.text(keys["cron"], problems)
    if cron is None or (why := _wrong_cron(cron)) is None:
        return cron, None
    expected = "a cron expression of 5 or 6 fields, or one of Airflow's presets"
    what = f"{fields.wrong_type(keys['cron'], expected)} ({why})"
    problems.add(keys["cron"].place, what)
    return None, None


PRESETS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@quarterly": "0 0 1 */3 *",
    "@yearly": "0 0 1 1 *",
}
"""Airflow's names for cron expressions."""
_LEAST_FIELDS, _MOST_FIELDS = 5, 6


def _wrong_cron(cron: str) -> str | None:
    """Say what is wrong with a cron expression, by what Airflow reads it with."""
    from croniter import croniter
    from croniter.croniter import CroniterError

    if cron in PRESETS:
        return None
    if cron.startswith("@"):
        return f"there is no preset '{cron}', only {', '.join(PRESETS)}"
    words = len(cron.split())
    if not _LEAST_FIELDS <= words <= _MOST_FIELDS:
        return f"it has {words} fields"
    try:
        croniter(cron)
    except (CroniterError, ValueError) as err:
        return str(err)
    return None


def _timezone(value: Value | None, problems: Problems) -> str:
    name = fields.text(value, problems)
    if value is None or not name:
        return "UTC"
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        expected = "a time zone such as Europe/Paris"
        near = fields.nearest(name, zoneinfo.available_timezones())
        hint = f", did you mean '{near}'?" if near else ""
        problems.add(value.place, f"{fields.wrong_type(value, expected)}{hint}")
    return name


def _moment(value: Value | None, problems: Problems) -> str | None:
    written = fields.text(value, problems)
    if value is None or not written:
        return None
    try:
        found = datetime.fromisoformat(written)
    except ValueError:
        expected = "a time such as 2026-01-31 or 2026-01-31T09:00:00+02:00"
        problems.add(value.place, fields.wrong_type(value, expected))
        return None
    aware = found if found.tzinfo else found.replace(tzinfo=UTC)
    return aware.astimezone(UTC).isoformat()


def _conf(value: Value | None, problems: Problems) -> dict[str, Any]:
    if value is None or value.data is None:
        return {}
    if not isinstance(value.data, dict):
        problems.add(value.place, fields.wrong_type(value, "a mapping"))
        return {}
    found: dict[str, Any] = fields.plain(value)
    size = _size(found)
    if size > _CONF_BYTES:
        what = f"{value.name} is {size / 1000:.0f} kB as JSON, at most {_CONF_BYTES / 1000:.0f}"
        problems.add(value.place, f"{what}: put it in a file and pass its name")
    return found


def _size(conf: dict[str, Any]) -> int:
    return len(json.dumps(conf, default=str))
