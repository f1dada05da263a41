"""Params of a DAG, and the check of a run's conf against them. Child side.

Source: Airflow 3.3: ``serialization/definitions/param.py`` (``SerializedParamsDict.validate``), which stops at the first.
"""

import json
from collections.abc import Mapping
from typing import Any

from airflow.serialization.definitions.param import SerializedParam
from jsonschema.exceptions import ValidationError

_MOST_CHARS = 200
_SHOWN = ("minimum", "maximum", "minLength", "maxLength", "format", "pattern", "enum")
"""Keywords of a JSON Schema that are described to people, besides the type."""
_EXAMPLES = {
    "string": "...",
    "boolean": True,
    "array": [],
    "object": {},
    "null": None,
}


def check(dag_id: str, params: Any, conf: Mapping[str, Any]) -> None:
    """Check the params a DAG has, with the values of a run; what else the conf holds is never wrong.

    Args:
        dag_id: Whose they are.
        params: Airflow's, of the DAG as the scheduler knows it.
        conf: What the run is given.

    Raises:
        ValueError: All that are missing or wrong, and how to give them.
    """
    own = {name: value for name, value in conf.items() if name in params}
    merged = params.deep_merge(own)
    wrong: dict[str, SerializedParam] = {}
    lines = []
    for name in merged:
        param = merged.get_param(name)
        if (why := _wrong(param)) is not None:
            wrong[name] = param
            allowed = words(param.schema)
            lines.append(
                f"Invalid input for param {name}: {why}{allowed and f' ({allowed})'}"
            )
    if not wrong:
        return
    if len(lines) > 1:
        lines = [f"{len(lines)} of its params are missing or wrong", *lines]
    given = json.dumps({name: _example(param.schema) for name, param in wrong.items()})
    quoted = given.replace("'", "'\\''")
    raise ValueError(
        "\n".join([*lines, f"Give a value: submit {dag_id} --conf '{quoted}'"])
    )


def listed(params: Any) -> dict[str, dict[str, Any]]:
    """Return what people are shown of each param: default, whether one must be given, what it may be."""
    found = {
        name: {
            "default": param.value if param.has_value else None,
            "is_required": _wrong(_as_scheduled(param)) is not None,
            "allowed": words(param.schema),
            "description": param.description,
            "schema": param.schema,
        }
        for name, param in params.items()
    }
    known: dict[str, dict[str, Any]] = json.loads(json.dumps(found, default=str))
    return known


def _as_scheduled(param: Any) -> SerializedParam:
    scheduled = SerializedParam(param.value)
    scheduled.schema = param.schema
    return scheduled


def words(schema: Mapping[str, Any]) -> str:
    """Say what a value may be: ``integer, minimum 3``; nothing when anything may."""
    kinds = schema.get("type", ())
    parts = [kinds] if isinstance(kinds, str) else [" or ".join(map(str, kinds))]
    parts += [f"{key} {_shown(schema[key])}" for key in _SHOWN if key in schema]
    return ", ".join(filter(None, parts))


def _wrong(param: SerializedParam) -> str | None:
    try:
        param.resolve(raises=True)
    except ValidationError as error:
        return _shortened(error.message)
    except Exception as error:  # noqa: BLE001 - a schema may be wrong in any way
        return _shortened(str(error) or type(error).__name__)
    return None


def _example(schema: Mapping[str, Any]) -> Any:
    """Return a value to be replaced, of a kind the schema takes."""
    for key in ("examples", "enum"):
        if schema.get(key):
            return schema[key][0]
    kinds = schema.get("type", "string")
    kind = kinds if isinstance(kinds, str) else (list(kinds) or ["string"])[0]
    if kind in ("integer", "number"):
        return schema.get("minimum", schema.get("maximum", 1))
    return _EXAMPLES.get(kind, "...")


def _shown(value: Any) -> str:
    return _shortened(json.dumps(value, default=str))


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST_CHARS else f"{text[:_MOST_CHARS]}..."
