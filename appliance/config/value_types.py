"""Types of values that a key may hold: how each is read, and its JSON Schema."""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from appliance.config import fields
from appliance.config.airflow_formats.connections import JSON_SCHEMA as CONNECTION
from appliance.config.airflow_formats.connections import connections
from appliance.config.airflow_formats.variables import variables
from appliance.config.problems import Problems
from appliance.config.schedules import JSON_SCHEMA as SCHEDULE
from appliance.config.schedules import schedules
from appliance.config.sizes import SIZE
from appliance.config.yaml_values import Value

_MOST_PORT = 65535
_YEAR_S = 365 * 86400.0
_REFERENCE = {"type": "string", "pattern": r"\$\{"}
"""What is written for a number may also come from the environment."""
_NAME = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?"
_NAMES = re.compile(rf"{_NAME}(?:\s*,\s*{_NAME})*")
_ADDRESS = re.compile(r"(?:[^\s:/\[\]]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")

HOST_NAMES = "names of hosts, such as ui.example.com, with commas between them"


@dataclass(frozen=True, slots=True)
class Kind:
    """``read`` returns None for an empty value, and for a wrong one, which it reports in the problems."""

    read: Callable[[Value, Problems], Any]
    schema: Mapping[str, Any]


def text() -> Kind:
    """Text, as it is written."""
    return Kind(fields.text, {"type": "string"})


def whole(least: int, most: int | None = None) -> Kind:
    """A whole number between two bounds."""
    number: dict[str, Any] = {"type": "integer", "minimum": least}
    if most is not None:
        number["maximum"] = most

    def read(value: Value, problems: Problems) -> int | None:
        return fields.whole(value, problems, least=least, most=most)

    return Kind(read, {"anyOf": [number, _REFERENCE]})


def port() -> Kind:
    """A TCP port."""
    return whole(1, _MOST_PORT)


def duration(*, least: str = "0s", most_s: float = 10 * _YEAR_S) -> Kind:
    """Seconds, written with their unit; ``least`` is written so, too."""

    def read(value: Value, problems: Problems) -> float | None:
        return fields.duration_s(value, problems, least=least, most_s=most_s)

    pattern = rf"^{fields.DURATION.pattern}$|\$\{{"
    return Kind(read, {"type": "string", "pattern": pattern})


def size() -> Kind:
    """Bytes, written with their unit."""
    pattern = rf"^{SIZE.pattern}$|\$\{{"
    return Kind(fields.size_bytes, {"type": "string", "pattern": pattern})


def choice(*options: str) -> Kind:
    """One of a few words."""

    def read(value: Value, problems: Problems) -> str | None:
        return fields.choice(value, problems, options)

    return Kind(read, {"anyOf": [{"enum": list(options)}, _REFERENCE]})


def ip() -> Kind:
    """An IP address to listen on."""

    def read(value: Value, problems: Problems) -> str | None:
        found = fields.text(value, problems)
        if not found:
            return None
        try:
            return str(ipaddress.ip_address(found))
        except ValueError:
            expected = "an IP address, such as 127.0.0.1 or 0.0.0.0 for all"
            problems.add(value.place, fields.wrong_type(value, expected))
            return None

    return Kind(read, {"type": "string"})


def address() -> Kind:
    """``host:port``."""

    def read(value: Value, problems: Problems) -> str | None:
        found = fields.text(value, problems)
        if found and not is_address(found):
            expected = "host:port, such as temporal.example.com:7233"
            problems.add(value.place, fields.wrong_type(value, expected))
        return found

    return Kind(read, {"type": "string", "pattern": rf"^{_ADDRESS.pattern}$|\$\{{"})


def is_address(text: str) -> bool:
    """Whether this is ``host:port``."""
    match = _ADDRESS.fullmatch(text)
    return match is not None and 1 <= int(match[1]) <= _MOST_PORT


def host_names() -> Kind:
    """Names of hosts, one or several with commas between them; as one text, without spaces and in lower case."""

    def read(value: Value, problems: Problems) -> str | None:
        found = fields.text(value, problems)
        if not found:
            return None
        names = names_of_hosts(found)
        if names is None:
            problems.add(value.place, fields.wrong_type(value, HOST_NAMES))
        return names

    return Kind(read, {"type": "string", "pattern": rf"^{_NAMES.pattern}$|\$\{{"})


def names_of_hosts(text: str) -> str | None:
    """Return names of hosts as ``host_names`` has them; None when there is anything else in it."""
    if not _NAMES.fullmatch(text.strip()):
        return None
    return re.sub(r"\s", "", text).lower()


def connection_map() -> Kind:
    """Airflow connections by id."""

    def read(value: Value, problems: Problems) -> Any:
        return connections(fields.named(value, problems), problems)

    return Kind(read, {"type": "object", "additionalProperties": CONNECTION})


def schedule_map() -> Kind:
    """Schedules by name."""

    def read(value: Value, problems: Problems) -> Any:
        return schedules(fields.named(value, problems), problems)

    return Kind(read, {"type": "object", "additionalProperties": SCHEDULE})


def variable_map() -> Kind:
    """Airflow variables by key."""

    def read(value: Value, problems: Problems) -> Any:
        return variables(fields.named(value, problems), problems)

    return Kind(read, {"type": "object"})
