"""Makes the ``Config`` of this box from the environment and appliance.yaml.

The environment beats the file, the file beats the defaults. Besides reading files this is
pure: the environment and the working directory are given.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from appliance.config import astro, environment, limits
from appliance.config.access import closed, denied
from appliance.config.document import read_file
from appliance.config.model import (
    Config,
    DagSettings,
    Role,
    Secrets,
    TemporalSettings,
    WorkerSettings,
)
from appliance.config.problems import Problems
from appliance.config.schema import ROLES, Written, read

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
_KNOWN = frozenset(
    {
        "APPLIANCE_CONF",
        "APPLIANCE_DATA",
        "APPLIANCE_IMAGE",
        "APPLIANCE_IP",
        "APPLIANCE_KEY_FILE",
        "APPLIANCE_PROJECT",
        "APPLIANCE_ROLE",
        *_PORTS,
    }
)


def load(
    environ: Mapping[str, str], *, cwd: Path, machine: limits.Machine | None = None
) -> Config:
    """Read what this box is told.

    Args:
        environ: the environment; an empty variable counts as unset.
        cwd: what relative paths of the environment and the defaults start from;
            in our image the defaults start from the root folder.
        machine: what this process may use; read from the kernel when None.

    Raises:
        ConfigError: with everything that is wrong, one line a problem.
    """
    env = {name: value for name, value in environ.items() if value}
    problems = Problems()
    home = Path("/") if "APPLIANCE_IMAGE" in env else cwd
    file = cwd / env.get("APPLIANCE_CONF", home / _DEFAULT_FILE)
    written = _written(file, env, cwd=cwd, problems=problems)
    project = _project(env, cwd, problems)
    settings = astro.read(project, environ=env, problems=problems)
    key_file = env.get("APPLIANCE_KEY_FILE")
    config = Config(
        file=file,
        data=_absolute(cwd / env.get("APPLIANCE_DATA", home / _DEFAULT_DATA)),
        project=project,
        role=_role(env, written, problems),
        temporal=_temporal(env, written, problems),
        worker=_worker(written, machine or limits.machine()),
        dags=_dags(env, written, (cwd, project or home), problems),
        secrets=_both(written.secrets, settings.secrets),
        airflow_env=environment.airflow_variables(env),
        python_path=env.get("PYTHONPATH", ""),
        key_path=_absolute(cwd / key_file) if key_file else None,
    )
    _check_role(config, env, problems)
    problems.check()
    warnings = (*_warnings(env, config), *settings.warnings)
    return replace(config, warnings=warnings)


def _project(env: Mapping[str, str], cwd: Path, problems: Problems) -> Path | None:
    named = env.get("APPLIANCE_PROJECT")
    if named is None:
        in_image = "APPLIANCE_IMAGE" in env and _IMAGE_PROJECT.is_dir()
        return _IMAGE_PROJECT if in_image else None
    project = _absolute(cwd / named)
    if not project.is_dir():
        problems.add("APPLIANCE_PROJECT", f"the folder '{named}' does not exist")
    return project


def _both(base: Secrets, winner: Secrets) -> Secrets:
    return Secrets(
        connections=base.connections | winner.connections,
        variables=base.variables | winner.variables,
    )


def _written(
    file: Path, env: Mapping[str, str], *, cwd: Path, problems: Problems
) -> Written:
    is_below = file.is_relative_to(cwd) and cwd != Path("/")
    name = os.path.relpath(file, cwd) if is_below else str(file)
    shut = closed(file.parent)
    if shut:
        problems.add(name, denied(shut, "read", file))
        return Written()
    if not file.exists():
        if "APPLIANCE_CONF" in env:
            what = f"the file '{name}' does not exist"
            problems.add("APPLIANCE_CONF", what)
        return Written()
    root = read_file(file, name=name, environ=env, problems=problems)
    return read(root, folder=file.parent, problems=problems)


def _role(env: Mapping[str, str], written: Written, problems: Problems) -> Role:
    named = env.get("APPLIANCE_ROLE")
    if named is None:
        return written.role or "all"
    if named not in ROLES:
        what = f"expected one of {', '.join(ROLES)}, not '{named}'"
        problems.add("APPLIANCE_ROLE", what)
        return "all"
    return cast(Role, named)


def _temporal(
    env: Mapping[str, str], written: Written, problems: Problems
) -> TemporalSettings:
    told: dict[str, Any] = dict(written.temporal)
    told["address"] = (
        env.get("TEMPORAL_ADDRESS") or env.get("TEMPORAL_HOST") or told.get("address")
    )
    told["namespace"] = env.get("TEMPORAL_NAMESPACE") or told.get("namespace")
    told["task_queue"] = env.get("TEMPORAL_TASK_QUEUE") or told.get("task_queue")
    for name in ("ip", "ui_ip"):
        told[name] = env.get("APPLIANCE_IP") or told.get(name)
    for variable, name in _PORTS.items():
        told[name] = _port(env, variable, problems) or told.get(name)
    told["retention_s"] = written.retention_s
    settings = TemporalSettings(**_given(told))
    if settings.address is None:
        _check_ports(settings, problems)
    return settings


def _port(env: Mapping[str, str], variable: str, problems: Problems) -> int | None:
    written = env.get(variable)
    if written is None:
        return None
    if not written.isascii() or not written.isdigit():
        problems.add(variable, f"expected a port number, not '{written}'")
        return None
    if not 1 <= int(written) <= _MOST_PORT:
        problems.add(variable, f"expected a port from 1 to {_MOST_PORT}")
    return int(written)


def _check_ports(settings: TemporalSettings, problems: Problems) -> None:
    ports = (settings.port, settings.ui_port, settings.metrics_port)
    if len(set(ports)) != len(ports):
        what = (
            f"port {ports[0]}, ui_port {ports[1]} and metrics_port {ports[2]} "
            "must differ"
        )
        problems.add("temporal", what)


def _worker(written: Written, machine: limits.Machine) -> WorkerSettings:
    told: dict[str, Any] = {"parallelism": limits.parallelism(machine)}
    return WorkerSettings(**(told | _given(written.worker)))


def _dags(
    env: Mapping[str, str],
    written: Written,
    starts: tuple[Path, Path],
    problems: Problems,
) -> DagSettings:
    """Find the folders; ``starts``: what the environment's paths and the defaults start from."""
    cwd, home = starts
    folder = env.get("AIRFLOW__CORE__DAGS_FOLDER")
    plugins = env.get("AIRFLOW__CORE__PLUGINS_FOLDER")
    told = {
        "max_age_s": written.max_age_s,
        "import_timeout_s": _import_timeout_s(env, problems),
    }
    return DagSettings(
        folder=_absolute(cwd / (folder or written.folder or home / _DEFAULT_DAGS)),
        plugins_folder=_absolute(
            cwd / (plugins or written.plugins or home / _DEFAULT_PLUGINS)
        ),
        **_given(told),
    )


def _import_timeout_s(env: Mapping[str, str], problems: Problems) -> float | None:
    variable = "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT"
    written = env.get(variable)
    if written is None:
        return None
    try:
        return float(written)
    except ValueError:
        problems.add(variable, f"expected seconds, not '{written}'")
        return None


def _check_role(config: Config, env: Mapping[str, str], problems: Problems) -> None:
    where = "APPLIANCE_ROLE" if "APPLIANCE_ROLE" in env else "role"
    if config.role == "server" and config.temporal.address:
        what = (
            "'server' runs the Temporal server here, but TEMPORAL_ADDRESS names "
            f"another one ({config.temporal.address}); set one of the two"
        )
        problems.add(where, what)
    if config.role == "worker" and not config.temporal.address:
        what = "'worker' needs TEMPORAL_ADDRESS, the host:port of the Temporal server"
        problems.add(where, what)


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
