"""Makes the ``Config`` of this box from the environment and appliance.yaml.

The environment beats the file, the file beats the defaults. Besides reading files this is
pure: the environment and the working directory are given.
"""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from appliance.config import astro, environment, kinds, limits, schema
from appliance.config.access import closed, denied
from appliance.config.connections import connections as read_map
from appliance.config.document import Source, Value, read_file, read_text
from appliance.config.model import (
    Config,
    Connection,
    DagSettings,
    DiskSettings,
    Role,
    Secrets,
    TemporalSettings,
    WorkerSettings,
)
from appliance.config.problems import Place, Problems, repeatable
from appliance.config.references import References

_DEFAULT_FILE = Path("conf/appliance.yaml")
_DEFAULT_DATA = Path(".appliance")
_DEFAULT_DAGS = Path("dags")
_DEFAULT_PLUGINS = Path("plugins")
_IMAGE_PROJECT = Path("/project")
_PORTS = {
    "APPLIANCE_PORT": "port",
    "APPLIANCE_UI_PORT": "ui_port",
    "APPLIANCE_METRICS_PORT": "metrics_port",
}
_MOST_PORT = 65535
_BOOLEANS = {
    **dict.fromkeys(("true", "t", "1"), True),
    **dict.fromkeys(("false", "f", "0"), False),
}
_CONNECTION = "AIRFLOW_CONN_"
_YAML_PATH = re.compile(r"\S+\.(?:ya?ml|json)")
_KNOWN = frozenset(
    {
        "APPLIANCE_CONF",
        "APPLIANCE_CONFIG",
        "APPLIANCE_DATA",
        "APPLIANCE_IMAGE",
        "APPLIANCE_IP",
        "APPLIANCE_KEY_FILE",
        "APPLIANCE_PROJECT",
        "APPLIANCE_ROLE",
        *_PORTS,
    }
)
_IN_FILES = _KNOWN - {"APPLIANCE_CONFIG", "APPLIANCE_IMAGE", "APPLIANCE_KEY_FILE"}
"""The variables ``NAME_FILE`` may stand for; APPLIANCE_CONF names such a file already."""


def data_folder(environ: Mapping[str, str], *, cwd: Path) -> Path:
    """Return the data folder, which no file can move. See ``load``."""
    env = _environment(References(environ, folder=cwd), Problems())
    return _absolute(cwd / env.get("APPLIANCE_DATA", _home(env, cwd) / _DEFAULT_DATA))


def _home(env: Mapping[str, str], cwd: Path) -> Path:
    return Path("/") if "APPLIANCE_IMAGE" in env else cwd


def load(
    environ: Mapping[str, str],
    *,
    cwd: Path,
    machine: limits.Machine | None = None,
    in_force: Mapping[str, Any] | None = None,
) -> Config:
    """Read what this box is told.

    Args:
        environ: the environment; an empty variable counts as unset.
        cwd: what relative paths of the environment and the defaults start from;
            in our image the defaults start from the root folder.
        machine: what this process may use; read from the kernel when None.
        in_force: what an appliance that is up was told by its file, which then is not
            read, so that there are no connections and variables.

    Raises:
        ConfigError: with everything that is wrong, one line a problem.
    """
    problems = Problems()
    references = References(environ, folder=cwd)
    env = _environment(references, problems)
    home = _home(env, cwd)
    file = cwd / env.get("APPLIANCE_CONF", home / _DEFAULT_FILE)
    told = in_force
    if told is None:
        told = _told(file, env, cwd=cwd, references=references, problems=problems)
    given = {name: value for name, value in env.items() if name in environ}
    project = _project(env, cwd, problems)
    settings = astro.read(
        project if in_force is None else None, references=references, problems=problems
    )
    key_file = env.get("APPLIANCE_KEY_FILE")
    config = Config(
        file=file,
        data=data_folder(environ, cwd=cwd),
        is_in_environment="APPLIANCE_CONFIG" in env,
        project=project,
        role=_role(env, told, problems),
        temporal=_temporal(env, told, problems),
        worker=_worker(told, machine or limits.machine()),
        dags=_dags(env, told, (cwd, project or home), problems),
        disk=DiskSettings(**schema.under(told, "disk")),
        schedules=told.get("schedules", ()),
        secrets=_secrets(told, settings.secrets, _kept_in_files(env, given), problems),
        pools=told.get("pools", {}) | settings.pools,
        airflow_env=environment.airflow_variables(given),
        temporal_env=_temporal_variables(env),
        python_path=env.get("PYTHONPATH", ""),
        key_path=_absolute(cwd / key_file) if key_file else None,
        told=schema.until_restart(told),
    )
    _check_role(config, env, problems)
    problems.check()
    return replace(
        config,
        sources=frozenset(references.files),
        notes=tuple(references.notes),
        warnings=(*_warnings(env, config), *settings.warnings),
    )


def _environment(references: References, problems: Problems) -> dict[str, str]:
    env, wrong = references.environment(_IN_FILES)
    for name, what in wrong.items():
        problems.add(name, what)
    if "APPLIANCE_CONFIG" in env and "APPLIANCE_CONF" in env:
        what = "holds the whole file and APPLIANCE_CONF names one, unset one of them"
        problems.add("APPLIANCE_CONFIG", what)
    return env


def _temporal_variables(env: Mapping[str, str]) -> dict[str, str]:
    return {name: env[name] for name in env if name.startswith("TEMPORAL_")}


def _project(env: Mapping[str, str], cwd: Path, problems: Problems) -> Path | None:
    named = env.get("APPLIANCE_PROJECT")
    if named is None:
        in_image = "APPLIANCE_IMAGE" in env and _IMAGE_PROJECT.is_dir()
        return _IMAGE_PROJECT if in_image else None
    project = _absolute(cwd / named)
    if not project.is_dir():
        problems.add("APPLIANCE_PROJECT", f"the folder '{named}' does not exist")
    return project


def _kept_in_files(
    env: Mapping[str, str], given: Mapping[str, str]
) -> dict[str, Value]:
    """Return the connections ``AIRFLOW_CONN_<ID>_FILE`` names, by id.

    Those of ``AIRFLOW_CONN_<ID>`` itself are for Airflow, which looks there before it asks us.
    """
    found = {}
    for name in env.keys() - given.keys():
        if name.startswith(_CONNECTION):
            conn_id, place = name.removeprefix(_CONNECTION).lower(), Place(name, 1, 1)
            where = f"what {name}_FILE names"
            found[conn_id] = Value(name, place, place, env[name], env[name], where)
    return found


def _secrets(
    told: Mapping[str, Any],
    settings: Secrets,
    kept: Mapping[str, Value],
    problems: Problems,
) -> Secrets:
    """Join the connections and variables of all files; the environment wins."""
    connections: dict[str, Connection] = told.get("secrets.connections", {})
    variables: dict[str, str] = told.get("secrets.variables", {})
    return Secrets(
        connections=connections | settings.connections | read_map(kept, problems),
        variables=variables | settings.variables,
    )


def _told(
    file: Path,
    env: Mapping[str, str],
    *,
    cwd: Path,
    references: References,
    problems: Problems,
) -> dict[str, Any]:
    """Read the file, or what APPLIANCE_CONFIG holds: attribute of ``Config`` → value."""
    if "APPLIANCE_CONFIG" in env:
        root = _in_environment(env["APPLIANCE_CONFIG"], cwd, references, problems)
        return schema.read(root, folder=cwd, problems=problems)
    is_below = file.is_relative_to(cwd) and cwd != Path("/")
    name = os.path.relpath(file, cwd) if is_below else str(file)
    shut = closed(file.parent)
    if shut:
        problems.add(name, denied(shut, "read", file))
        return {}
    if not file.exists():
        references.files.add(file)
        if "APPLIANCE_CONF" in env:
            what = f"the file '{name}' does not exist"
            problems.add("APPLIANCE_CONF", what)
        return {}
    source = Source(name, file.parent, references, has_variables=True)
    root = read_file(file, source, problems)
    return schema.read(root, folder=file.parent, problems=problems)


def _in_environment(
    text: str, cwd: Path, references: References, problems: Problems
) -> Value | None:
    if _YAML_PATH.fullmatch(text.strip()):
        what = "holds the whole file; the path of one goes into APPLIANCE_CONF"
        problems.add("APPLIANCE_CONFIG", what)
        return None
    source = Source("APPLIANCE_CONFIG", cwd, references, has_variables=True)
    return read_text(text, source, problems)


def _role(env: Mapping[str, str], told: Mapping[str, Any], problems: Problems) -> Role:
    named = env.get("APPLIANCE_ROLE", told.get("role", "all"))
    if named not in schema.ROLES:
        what = f"expected one of {', '.join(schema.ROLES)}, not {repeatable(named)}"
        problems.add("APPLIANCE_ROLE", what)
        return "all"
    return cast(Role, named)


def _temporal(
    env: Mapping[str, str], written: Mapping[str, Any], problems: Problems
) -> TemporalSettings:
    told = schema.under(written, "temporal")
    told["address"] = (
        env.get("TEMPORAL_ADDRESS") or env.get("TEMPORAL_HOST") or told.get("address")
    )
    told["namespace"] = env.get("TEMPORAL_NAMESPACE") or told.get("namespace")
    told["task_queue"] = env.get("TEMPORAL_TASK_QUEUE") or told.get("task_queue")
    for name in ("ip", "ui_ip"):
        told[name] = env.get("APPLIANCE_IP") or told.get(name)
    for variable, name in _PORTS.items():
        told[name] = _port(env, variable, problems) or told.get(name)
    settings = TemporalSettings(**_given(told))
    _check_addresses(env, problems)
    if settings.address is None:
        _check_ports(settings, env, problems)
    return settings


def _port(env: Mapping[str, str], variable: str, problems: Problems) -> int | None:
    written = env.get(variable)
    if written is None:
        return None
    if not re.fullmatch("[0-9]{1,9}", written):
        problems.add(variable, f"expected a port number, not {repeatable(written)}")
        return None
    if not 1 <= int(written) <= _MOST_PORT:
        problems.add(variable, f"expected a port from 1 to {_MOST_PORT}")
    return int(written)


def _check_addresses(env: Mapping[str, str], problems: Problems) -> None:
    for name in ("TEMPORAL_ADDRESS", "TEMPORAL_HOST"):
        if name in env and not kinds.is_address(env[name]):
            what = "expected host:port, such as temporal.example.com:7233"
            problems.add(name, f"{what}, not {repeatable(env[name])}")


def _check_ports(
    settings: TemporalSettings, env: Mapping[str, str], problems: Problems
) -> None:
    ports = {name: getattr(settings, name) for name in _PORTS.values()}
    if len(set(ports.values())) == len(ports):
        return
    told = ", ".join(f"{name} {number}" for name, number in ports.items())
    what = f"the ports must differ: {told}"
    named = [variable for variable in _PORTS if variable in env]
    written = [name for name in ports if f"temporal.{name}" in problems.places]
    if named:
        problems.add(named[-1], what)
    else:
        problems.add_for(f"temporal.{written[-1]}", what)


def _worker(told: Mapping[str, Any], machine: limits.Machine) -> WorkerSettings:
    default: dict[str, Any] = {"parallelism": limits.parallelism(machine)}
    return WorkerSettings(**(default | schema.under(told, "worker")))


def _dags(
    env: Mapping[str, str],
    written: Mapping[str, Any],
    starts: tuple[Path, Path],
    problems: Problems,
) -> DagSettings:
    """Find the folders; ``starts``: what the environment's paths and the defaults start from."""
    cwd, home = starts
    folder: str | Path | None = env.get("AIRFLOW__CORE__DAGS_FOLDER")
    plugins: str | Path | None = env.get("AIRFLOW__CORE__PLUGINS_FOLDER")
    told = schema.under(written, "dags")
    told["import_timeout_s"] = _import_timeout_s(env, problems)
    folder = folder or told.get("folder") or home / _DEFAULT_DAGS
    plugins = plugins or told.get("plugins_folder") or home / _DEFAULT_PLUGINS
    told["schedules"] = _schedule_mode(env, problems) or told.get("schedules")
    told["folder"] = _absolute(cwd / folder)
    told["plugins_folder"] = _absolute(cwd / plugins)
    return DagSettings(**_given(told))


def _schedule_mode(env: Mapping[str, str], problems: Problems) -> str | None:
    """Read Airflow's own setting, which is a boolean as Airflow's configuration has it."""
    variable = "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION"
    written = env.get(variable)
    if written is None:
        return None
    found = _BOOLEANS.get(written.strip().lower())
    if found is None:
        problems.add(variable, f"expected True or False, not {repeatable(written)}")
    return "paused" if found in (None, True) else "active"


def _import_timeout_s(env: Mapping[str, str], problems: Problems) -> float | None:
    variable = "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT"
    written = env.get(variable)
    if written is None:
        return None
    try:
        found = float(written)
    except ValueError:
        found = 0.0
    if not 0 < found < math.inf:
        problems.add(variable, f"expected seconds, not {repeatable(written)}")
        return None
    return found


def _check_role(config: Config, env: Mapping[str, str], problems: Problems) -> None:
    where = "APPLIANCE_ROLE" if "APPLIANCE_ROLE" in env else "role"
    if config.role == "server" and config.temporal.address:
        what = (
            "'server' runs the Temporal server here, but TEMPORAL_ADDRESS or "
            f"temporal.address names another one ({config.temporal.address}); set one "
            "of the two"
        )
        problems.add_for(where, what)
    if config.role == "worker" and not config.temporal.address:
        what = (
            "'worker' needs TEMPORAL_ADDRESS or temporal.address, the host:port of the "
            "Temporal server"
        )
        problems.add_for(where, what)


def _warnings(env: Mapping[str, str], config: Config) -> tuple[str, ...]:
    found = []
    if "TEMPORAL_HOST" in env and "TEMPORAL_ADDRESS" not in env:
        found.append("TEMPORAL_HOST is an old name, write TEMPORAL_ADDRESS.")
    ignored = environment.ignored(config.airflow_env)
    if ignored:
        found.append(
            "No effect here, as there is no Airflow scheduler, web server or "
            f"database: {', '.join(ignored)}."
        )
    found += _misspelt(env)
    return tuple(found)


def _misspelt(env: Mapping[str, str]) -> list[str]:
    found = []
    for name in sorted(env):
        if name.startswith("APPLIANCE") and name not in _KNOWN:
            near = get_close_matches(name, _KNOWN, n=1, cutoff=0.8)
            found += [f"{name} is unknown, did you mean {one}?" for one in near]
    return found


def _given(told: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if value is not None}


def _absolute(path: Path) -> Path:
    """Make a path absolute and plain, keeping symbolic links as they are written."""
    return Path(os.path.normpath(path.expanduser()))
