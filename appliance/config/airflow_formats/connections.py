"""Reads connections in every form Airflow has for them: URI, JSON text, mapping, exported file."""

import json
import re
from collections.abc import Mapping
from typing import Any

from appliance.config import fields
from appliance.config.airflow_formats.uris import from_uri, normal_type
from appliance.config.model import Connection
from appliance.config.problems import Problems, SourceLocation, repeatable
from appliance.config.yaml_values import Value

# airflow.models.connection: RE_SANITIZE_CONN_ID, CONN_ID_MAX_LEN
_CONN_ID = re.compile(r"[\w#!()\-.:/\\]{1,250}")
_PARTS = ("conn_type", "host", "login", "password", "schema", "port")
_KEYS = frozenset({*_PARTS, "conn_id", "description", "extra", "extra_dejson", "uri"})
_MOST_PORT = 65535
_SYNONYMS = {
    "database": "schema",
    "db": "schema",
    "dbname": "schema",
    "hostname": "host",
    "server": "host",
    "extras": "extra",
    "pass": "password",
    "pwd": "password",
    "secret": "password",
    "type": "conn_type",
    "url": "uri",
    "user": "login",
    "username": "login",
}

_TEXT: dict[str, Any] = {"type": ["string", "number", "boolean", "null"]}
JSON_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {
                **dict.fromkeys((*_PARTS, "conn_id", "description", "uri"), _TEXT),
                "port": {"type": ["integer", "string", "null"]},
                "extra": {"type": ["object", "string", "null"]},
                "extra_dejson": {"type": ["object", "string", "null"]},
            },
            "additionalProperties": False,
        },
    ]
}


def connections(
    entries: Mapping[str, Value], problems: Problems
) -> dict[str, Connection]:
    """Read connections by id; a wrong one is left out and told of in ``problems``."""
    found = {}
    for conn_id, value in entries.items():
        if not _CONN_ID.fullmatch(conn_id):
            what = (
                f"{repeatable(conn_id)} cannot be a connection id: up to 250 letters, "
                "digits and #!()-_.:/\\"
            )
            problems.add(value.key_place, what)
            continue
        if conn_id in _PARTS and value.written is not None:
            what = f"'{conn_id}' is a key of a connection, indent it below its id"
            problems.add(value.key_place, what)
            continue
        connection = _connection(conn_id, value, problems)
        if connection:
            found[conn_id] = connection
    return found


def _connection(conn_id: str, value: Value, problems: Problems) -> Connection | None:
    match value.data:
        case dict():
            return _from_mapping(conn_id, value, problems)
        case [only]:
            return _connection(conn_id, only, problems)
        case str(text) if text.lstrip().startswith("{"):
            return _from_json(conn_id, value, text, problems)
        case str(text):
            return _from_uri(conn_id, value, text, problems)
        case _:
            expected = "a URI or a mapping"
            hint = "; are its keys indented below it?" if value.data is None else ""
            what = fields.wrong_type(value, expected, secret=True) + hint
            problems.add(value.place, what)
            return None


def _from_uri(
    conn_id: str, value: Value, uri: str, problems: Problems
) -> Connection | None:
    try:
        connection = from_uri(conn_id, uri)
    except ValueError as err:
        problems.add(value.place, f"{value.name}: not a connection URI: {err}")
        return None
    if connection.extra is not None and not _is_object(connection.extra):
        what = f"{value.name}: __extra__ in the URI is not a JSON object"
        problems.add(value.place, what)
    return connection


def _from_json(
    conn_id: str, value: Value, text: str, problems: Problems
) -> Connection | None:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as err:
        problems.add(value.place, f"{value.name}: not JSON: {err.msg}")
        return None
    except (
        RecursionError,
        ValueError,
    ):  # as deep, or a number as long, as nobody writes
        problems.add(value.place, f"{value.name}: not JSON that can be read")
        return None
    return _from_mapping(conn_id, _at(value.place, value.name, data), problems)


def _from_mapping(conn_id: str, value: Value, problems: Problems) -> Connection | None:
    given = fields.section(value, _KEYS, problems, elsewhere=_meant, secret=True)
    named = fields.text(given.get("conn_id"), problems, secret=True)
    if named not in (None, conn_id):
        what = f"{value.name}: conn_id is another one, remove it"
        problems.add(given["conn_id"].place, what)
    texts = {
        key: fields.text(given.get(key), problems, secret=True)
        for key in _PARTS
        if key != "port"
    }
    description = fields.text(given.get("description"), problems, secret=True)
    port = _port(given.get("port"), problems)
    extra = _extra(value, given, problems)
    if "uri" not in given:
        conn_type = texts.pop("conn_type")
        return Connection(
            conn_id=conn_id,
            conn_type=conn_type if conn_type is None else normal_type(conn_type),
            port=port,
            extra=extra,
            description=description,
            **texts,
        )
    if port or extra or any(texts.values()):
        what = f"{value.name}: give either uri or its parts, not both"
        problems.add(given["uri"].key_place, what)
        return None
    return _connection(conn_id, given["uri"], problems)


def _extra(value: Value, given: Mapping[str, Value], problems: Problems) -> str | None:
    if "extra" in given and "extra_dejson" in given:
        what = f"{value.name}: give either extra or extra_dejson, not both"
        problems.add(given["extra_dejson"].key_place, what)
        return None
    extra = given.get("extra") or given.get("extra_dejson")
    if extra is None or extra.data in (None, ""):
        return None
    if isinstance(extra.data, dict):
        return json.dumps(fields.plain(extra))
    if isinstance(extra.data, str) and _is_object(extra.data):
        return extra.data
    expected = "a mapping or the text of a JSON object"
    problems.add(extra.place, fields.wrong_type(extra, expected, secret=True))
    return None


def _port(value: Value | None, problems: Problems) -> int | None:
    if value is not None and value.data == "":
        return None
    return fields.whole(value, problems, least=0, most=_MOST_PORT, secret=True)


def _meant(key: str) -> str | None:
    """Say what others call by this name; ``conn_`` is Astro's."""
    plain = key.lower().removeprefix("conn_")
    name = _SYNONYMS.get(plain, plain)
    return f"write '{name}'" if name in _KEYS or name in _SYNONYMS.values() else None


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (RecursionError, ValueError):
        return False


def _at(place: SourceLocation, name: str, data: Any) -> Value:
    """Give parsed JSON the place of the text it came from."""
    if isinstance(data, dict):
        items = {key: _at(place, f"{name}.{key}", item) for key, item in data.items()}
        return Value(name, place, place, items)
    if isinstance(data, list):
        return Value(name, place, place, [_at(place, name, item) for item in data])
    written = None if data is None else data if isinstance(data, str) else str(data)
    return Value(name, place, place, data, written)
