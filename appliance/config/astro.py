"""Reader of ``airflow_settings.yaml``, the connections, pools and variables of an Astro project.

What is empty in the template that ``astro dev init`` writes is skipped. Keys are taken with
and without their prefix: guides write ``host`` where the file has ``conn_host``.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from appliance.config import fields
from appliance.config.airflow_formats.connections import connections
from appliance.config.airflow_formats.variables import variables
from appliance.config.interpolation import Interpolation
from appliance.config.model import Pool, Secrets
from appliance.config.pools import pools
from appliance.config.problems import Problems
from appliance.config.yaml_values import Source, Value, read_file

_FILES = ("airflow_settings.yaml", "airflow_settings.yml")
_SECTIONS = frozenset({"connections", "pools", "variables"})
_CONNECTION = (
    "conn_id",
    "conn_type",
    "conn_host",
    "conn_schema",
    "conn_login",
    "conn_password",
    "conn_port",
    "conn_uri",
    "conn_extra",
)
_POOL = ("pool_name", "pool_slot", "pool_description", "pool_include_deferred")
_VARIABLE = ("variable_name", "variable_value")
_EMPTY = (None, "", 0)


@dataclass(frozen=True, slots=True)
class Settings:
    """What an Astro project says."""

    secrets: Secrets = field(default_factory=Secrets)
    pools: dict[str, Pool] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def read(
    project: Path | None, *, references: Interpolation, problems: Problems
) -> Settings:
    """Read the settings of a project; empty without one.

    Args:
        project: the folder that has ``dags`` and ``airflow_settings.yaml``, both optional.
        references: looks up what ``!env`` and ``!file`` name.
        problems: where to tell what is wrong.
    """
    if project is None:
        return Settings()
    paths = [project / name for name in _FILES]
    references.files.update(paths)
    found = [path for path in paths if path.is_file()]
    uninstalled = _uninstalled(project)
    if not found:
        return Settings(warnings=uninstalled)
    path = found[0]
    root = read_file(path, Source(str(path), project, references), problems)
    top = fields.section(root, frozenset({"airflow"}), problems)
    told = fields.section(top.get("airflow"), _SECTIONS, problems)
    entries = _entries(told.get("connections"), _CONNECTION, problems)
    secrets = Secrets(
        connections=connections(_connections(entries, problems), problems),
        variables=variables(
            _variables(_entries(told.get("variables"), _VARIABLE, problems)), problems
        ),
    )
    found_pools = pools(_pools(_entries(told.get("pools"), _POOL, problems)), problems)
    return Settings(secrets, found_pools, uninstalled)


def _entries(
    value: Value | None, keys: tuple[str, ...], problems: Problems
) -> list[dict[str, Value]]:
    """Read a list of mappings; each key of the answer has its prefix."""
    if value is None or value.data is None:
        return []
    if not isinstance(value.data, list):
        problems.add(value.place, fields.wrong_type(value, "a list", secret=True))
        return []
    prefix = keys[0].split("_")[0]
    known = {key.removeprefix(f"{prefix}_"): key for key in keys}
    known |= {key: key for key in keys}
    return [
        {
            known[key]: inner
            for key, inner in fields.section(item, known, problems, secret=True).items()
        }
        for item in value.data
    ]


def _connections(
    entries: list[dict[str, Value]], problems: Problems
) -> dict[str, Value]:
    found = {}
    for entry in entries:
        conn_id = entry.pop("conn_id", None)
        if conn_id is None or not conn_id.written:
            continue
        parts = {
            _plain_key(key): value
            for key, value in entry.items()
            if value.data not in _EMPTY
        }
        if parts.keys() - {"uri", "extra"}:
            parts.pop("uri", None)  # Astro's rule: the parts win
        elif "uri" not in parts:
            what = f"'{conn_id.written}' needs conn_type or conn_uri"
            problems.add(conn_id.place, what)
            continue
        found[conn_id.written] = replace(conn_id, data=dict(parts), written=None)
    return found


def _plain_key(key: str) -> str:
    return "conn_type" if key == "conn_type" else key.removeprefix("conn_")


def _variables(entries: list[dict[str, Value]]) -> dict[str, Value]:
    found = {}
    for entry in entries:
        name, value = entry.get("variable_name"), entry.get("variable_value")
        if name and name.written and value and value.data not in (None, ""):
            # Text as it is written, as Astro passes it: 0123 keeps its zero.
            data = value.data if value.written is None else value.written
            found[name.written] = replace(value, data=data)
    return found


def _pools(entries: list[dict[str, Value]]) -> dict[str, Value]:
    found = {}
    for entry in entries:
        name, slots = entry.get("pool_name"), entry.get("pool_slot")
        if name and name.written and slots and slots.data not in (None, ""):
            parts = {"slots": slots}
            deferred = entry.get("pool_include_deferred")
            if deferred and deferred.data not in (None, ""):
                parts["include_deferred"] = deferred
            found[name.written] = replace(name, data=parts, written=None)
    return found


def _uninstalled(project: Path) -> tuple[str, ...]:
    """Return warnings for lists of packages that the appliance does not install."""
    lists = [project / name for name in ("requirements.txt", "packages.txt")]
    wanted = [path for path in lists if path.is_file() and _names_packages(path)]
    return tuple(
        f"{path} is not installed: build an image on top of this one "
        "(docs/OPERATIONS.md)."
        for path in wanted
    )


def _names_packages(path: Path) -> bool:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return any(line.strip() and not line.lstrip().startswith("#") for line in lines)
