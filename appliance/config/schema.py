"""Table of the keys of appliance.yaml: what each may hold and which setting it sets.

A new key is a line here, an attribute of ``config.model`` and a comment in conf/appliance.yaml;
reading it, ``appliance config schema``, the message for what needs a restart and the check that it is
documented follow. What a key may hold is a ``Kind``; one that nothing here fits is made in
``config.value_types``, or beside what reads it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from appliance.config import fields, pools, value_types
from appliance.config.model import Config
from appliance.config.problems import Problems
from appliance.config.value_types import Kind
from appliance.config.yaml_values import Value

ROLES = ("all", "server", "worker")
_MOST_PARALLELISM = 1000
_MOST_LOST = 1_000_000


@dataclass(frozen=True, slots=True)
class Key:
    """One key: what it holds, which attribute of ``Config`` it sets, and what for.

    ``is_live``: a change saved while the appliance runs is in force without a restart.
    """

    kind: Kind
    sets: str
    help: str
    is_live: bool = False


KEYS: Mapping[str, Key] = {
    "connections": Key(
        value_types.connection_map(),
        "secrets.connections",
        "Airflow connections by id, as a URI or as a mapping.",
        is_live=True,
    ),
    "variables": Key(
        value_types.variable_map(),
        "secrets.variables",
        "Airflow variables by key; what is not text becomes JSON.",
        is_live=True,
    ),
    "pools": Key(
        pools.pool_map(),
        "pools",
        "Airflow pools by name, as a number of slots or as a mapping.",
        is_live=True,
    ),
    "role": Key(
        value_types.choice(*ROLES), "role", "Which half of the appliance this is."
    ),
    "retention": Key(
        value_types.duration(least="1h"),
        "temporal.retention_s",
        "How long finished runs, their logs and XComs are kept: 12h, 30d.",
    ),
    "worker.parallelism": Key(
        value_types.whole(1, _MOST_PARALLELISM), "worker.parallelism", "Tasks at once."
    ),
    "worker.grace": Key(
        value_types.duration(),
        "worker.grace_s",
        "How long running tasks get to end when the appliance stops.",
    ),
    "worker.on_lost": Key(
        value_types.choice("retry", "fail"),
        "worker.on_lost",
        "What becomes of a task whose worker died.",
        is_live=True,
    ),
    "worker.max_lost": Key(
        value_types.whole(0, _MOST_LOST),
        "worker.max_lost",
        "How many times retry is done for one task of a run.",
        is_live=True,
    ),
    "dags.folder": Key(value_types.text(), "dags.folder", "Where the DAG files are."),
    "dags.plugins": Key(
        value_types.text(), "dags.plugins_folder", "Where Airflow plugins are."
    ),
    "dags.max_age": Key(
        value_types.duration(),
        "dags.max_age_s",
        "How long a parsed file is used again while nothing in the folder changed.",
    ),
    "dags.schedules": Key(
        value_types.choice("paused", "active", "ignore"),
        "dags.schedules",
        "Whether the schedules of DAG files begin paused or active, or are not looked at.",
        is_live=True,
    ),
    "disk.floor": Key(
        value_types.size(),
        "disk.floor_bytes",
        "Free disk space in the data folder below which no new run is accepted.",
    ),
    "disk.logs": Key(
        value_types.size(),
        "disk.logs_bytes",
        "What logs may take; beyond it those of the oldest runs are removed.",
    ),
    "schedules": Key(
        value_types.schedule_map(),
        "schedules",
        "Runs by the clock, by a name of your own, whatever DAG files say.",
        is_live=True,
    ),
    "temporal.address": Key(
        value_types.address(),
        "temporal.address",
        "host:port of a Temporal server to use; without it one is started here.",
    ),
    "temporal.namespace": Key(
        value_types.text(), "temporal.namespace", "The namespace runs are in."
    ),
    "temporal.task_queue": Key(
        value_types.text(), "temporal.task_queue", "The task queue workers poll."
    ),
    "temporal.ip": Key(
        value_types.ip(), "temporal.ip", "What the bundled server's API listens on."
    ),
    "temporal.port": Key(
        value_types.port(), "temporal.port", "The port of the bundled server's API."
    ),
    "temporal.ui_ip": Key(
        value_types.ip(), "temporal.ui_ip", "What the bundled UI listens on."
    ),
    "temporal.ui_port": Key(
        value_types.port(), "temporal.ui_port", "The port of the bundled UI."
    ),
    "temporal.ui_hosts": Key(
        value_types.host_names(),
        "temporal.ui_hosts",
        "Names people reach the UI by, besides localhost and addresses: a proxy's.",
    ),
    "temporal.metrics_port": Key(
        value_types.port(), "temporal.metrics_port", "The port of the server's metrics."
    ),
}
SECTIONS: Mapping[str, str] = {
    "worker": "How this box runs tasks.",
    "dags": "Where DAG files are.",
    "disk": "How full the disk may get.",
    "temporal": "The Temporal server: the one started here, or another one.",
}
_FIXED = frozenset(key.sets for key in KEYS.values() if not key.is_live)
_PLAIN = (str, int, float, Path)
_PATHS = frozenset({"dags.folder", "dags.plugins"})


def read(root: Value | None, *, folder: Path, problems: Problems) -> dict[str, Any]:
    """Read the document: attribute of ``Config`` → value, for keys that say something.

    Paths in it are relative to ``folder``.
    """
    found: dict[str, Any] = {}
    for name, value in _values(root, problems).items():
        problems.places[name] = value.place
        key = KEYS[name]
        setting = key.kind.read(value, problems)
        if setting is not None and name in _PATHS:
            setting = folder / Path(setting).expanduser()
        if setting not in (None, ""):
            found[key.sets] = setting
    return found


def changed(old: Config, new: Config) -> tuple[list[str], list[str]]:
    """Return the keys whose change is in force at once, and those that need a restart."""
    names = [name for name, key in KEYS.items() if _differs(old, new, key.sets)]
    live = [name for name in names if KEYS[name].is_live]
    return live, [name for name in names if name not in live]


def with_live(old: Config, new: Config) -> Config:
    """Return ``old`` with the keys of ``new`` that need no restart."""
    return _taking(old, new, [key.sets for key in KEYS.values() if key.is_live])


def as_started(new: Config, started: Config) -> Config:
    """Return ``new`` with the keys that need a restart as they were at the start."""
    return _taking(new, started, [name for name in _FIXED if _is_plain(started, name)])


def _taking(base: Config, other: Config, attributes: Sequence[str]) -> Config:
    settings = {name: attrgetter(name)(other) for name in attributes}
    parts: dict[str, Any] = {
        part: replace(getattr(base, part), **under(settings, part))
        for part in {name.partition(".")[0] for name in settings if "." in name}
    }
    own = {name: value for name, value in settings.items() if "." not in name}
    return replace(base, **parts, **own)


def _is_plain(config: Config, name: str) -> bool:
    """Whether ``until_restart`` keeps such a value."""
    value = attrgetter(name)(config)
    return value is None or isinstance(value, _PLAIN)


def until_restart(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of keys that need a restart, as plain JSON values where possible."""
    return {
        name: value
        for name, value in settings.items()
        if name in _FIXED and isinstance(value, _PLAIN)
    }


def under(settings: Mapping[str, Any], part: str) -> dict[str, Any]:
    """Return the settings of one section of ``Config``, by attribute."""
    prefix = f"{part}."
    return {
        name.removeprefix(prefix): value
        for name, value in settings.items()
        if name.startswith(prefix)
    }


def _differs(old: Config, new: Config, attribute: str) -> bool:
    get = attrgetter(attribute)
    return bool(get(old) != get(new))


def _values(root: Value | None, problems: Problems) -> dict[str, Value]:
    """Return the written value of each key; an unknown key is a problem."""
    is_mapping = root is not None and isinstance(root.data, dict)
    top = fields.section(
        root, _names(""), problems, elsewhere=_elsewhere, secret=not is_mapping
    )
    found: dict[str, Value] = {}
    for name, value in top.items():
        if name in SECTIONS:
            inner = fields.section(value, _names(name), problems, elsewhere=_elsewhere)
            found |= {f"{name}.{key}": item for key, item in inner.items()}
        else:
            found[name] = value
    return {name: value for name, value in found.items() if value.data is not None}


def _names(section: str) -> frozenset[str]:
    if section:
        return frozenset(under(KEYS, section))
    return frozenset(name.split(".")[0] for name in KEYS)


def _elsewhere(key: str) -> str | None:
    """Say where a key belongs that is not known where it is written."""
    if key == "airflow":
        return (
            "that is of airflow_settings.yaml; name its folder with APPLIANCE_PROJECT, "
            "or move connections and variables to the start of a line"
        )
    if key in _names(""):
        return "it belongs at the start of a line"
    for section in SECTIONS:
        if key in _names(section):
            return f"it belongs under '{section}:'"
    return None
