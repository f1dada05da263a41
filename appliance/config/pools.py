"""Reader of pools: ``name: slots``, or ``name: {slots: ..., include_deferred: ..., description: ...}``."""

from collections.abc import Mapping

from appliance.config import fields
from appliance.config.model import Pool
from appliance.config.problems import Problems
from appliance.config.value_types import Kind
from appliance.config.yaml_values import Value

_KEYS = frozenset({"slots", "include_deferred", "description"})
_NO_LIMIT = -1
"""Airflow's number for a pool without a limit."""


def pool_map() -> Kind:
    """Airflow pools by name."""
    slots = {"type": "integer", "minimum": _NO_LIMIT}
    pool = {
        "type": "object",
        "additionalProperties": False,
        "required": ["slots"],
        "properties": {
            "slots": slots,
            "include_deferred": {"type": "boolean"},
            "description": {"type": "string"},
        },
    }

    def read(value: Value, problems: Problems) -> dict[str, Pool]:
        return pools(fields.named(value, problems), problems)

    return Kind(
        read, {"type": "object", "additionalProperties": {"anyOf": [slots, pool]}}
    )


def pools(entries: Mapping[str, Value], problems: Problems) -> dict[str, Pool]:
    """Read pools by name."""
    found: dict[str, Pool] = {}
    for name, value in entries.items():
        parts: Mapping[str, Value] = {"slots": value}
        if isinstance(value.data, dict):
            parts = fields.section(value, _KEYS, problems)
            if "slots" not in parts:
                problems.add(value.place, f"{value.name}: 'slots' is missing")
        slots = fields.whole(parts.get("slots"), problems, least=_NO_LIMIT)
        deferred = fields.yes_or_no(parts.get("include_deferred"), problems)
        if slots is not None:
            found[name] = Pool(slots, deferred or False)
    return found
