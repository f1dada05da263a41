"""Reads variables as ``airflow variables import`` does: text stays, anything else becomes JSON."""

import json
from collections.abc import Mapping

from appliance.config import fields
from appliance.config.problems import Problems
from appliance.config.yaml_values import Value

_LONGEST_KEY = 250


def variables(entries: Mapping[str, Value], problems: Problems) -> dict[str, str]:
    """Read variables by key: a plain value, or ``{value: ..., description: ...}``."""
    found = {}
    for key, value in entries.items():
        if not 0 < len(key) <= _LONGEST_KEY:
            what = f"a variable's key has 1 to {_LONGEST_KEY} characters"
            problems.add(value.key_place, what)
            continue
        data = fields.plain(value)
        if isinstance(data, dict) and "value" in data:
            data = data["value"]
        # The same indentation as Airflow's Variable.set(..., serialize_json=True).
        found[key] = data if isinstance(data, str) else json.dumps(data, indent=2)
    return found
