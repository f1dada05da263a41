"""JSON Schema of appliance.yaml, with which editors complete and check it."""

from typing import Any

from appliance.config.schema import KEYS, SECTIONS, Key, under

_DRAFT = "http://json-schema.org/draft-07/schema#"


def json_schema() -> dict[str, Any]:
    """Return the schema; YAML's ``!env`` and ``!file`` are for the editor to be told of."""
    properties: dict[str, Any] = {}
    for name, key in KEYS.items():
        section = name.partition(".")[0]
        if section in SECTIONS:
            properties.setdefault(section, _section(section))
        else:
            properties[name] = _leaf(key)
    return {
        "$schema": _DRAFT,
        "title": "appliance.yaml",
        "description": "The one configuration of the appliance. Every key is optional.",
        **_mapping(properties),
    }


def _section(name: str) -> dict[str, Any]:
    keys = {key: _leaf(spec) for key, spec in under(KEYS, name).items()}
    return {"description": SECTIONS[name], **_mapping(keys)}


def _mapping(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": ["object", "null"],
        "properties": properties,
        "additionalProperties": False,
    }


def _leaf(key: Key) -> dict[str, Any]:
    note = "" if key.is_live else " A change needs a restart."
    return {
        "description": f"{key.help}{note}",
        "anyOf": [dict(key.kind.schema), {"type": "null"}],
    }
