"""Loads the ``Config`` of this appliance from the environment and appliance.yaml.

The environment beats the file, the file beats the defaults. Besides reading files this is
pure: the environment and the working directory are given.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from appliance.config import (
    airflow_environment,
    astro,
    machine_limits,
    overrides,
    remote_logs,
    schema,
)
from appliance.config.airflow_formats.connections import connections as read_map
from appliance.config.file_access import closed, denied
from appliance.config.interpolation import Interpolation
from appliance.config.model import (
    Config,
    Connection,
    DiskSettings,
    Secrets,
)
from appliance.config.problems import Problems, SourceLocation
from appliance.config.yaml_values import Source, Value, read_file, read_text

_DEFAULT_FILE = Path("conf/appliance.yaml")
_DEFAULT_DATA = Path(".appliance")
_IMAGE_PROJECT = Path("/project")
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
        "APPLIANCE_UI_HOSTS",
        *overrides.PORTS,
    }
)
_IN_FILES = _KNOWN - {
    "APPLIANCE_CONFIG",
    "APPLIANCE_DATA",
    "APPLIANCE_IMAGE",
    "APPLIANCE_KEY_FILE",
}
"""The variables ``NAME_FILE`` may stand for.

APPLIANCE_CONF names such a file already, and the health check reads nothing but APPLIANCE_DATA.
"""


def data_folder(environ: Mapping[str, str], *, cwd: Path) -> Path:
    """Return the data folder, which no file can move. See ``load``."""
    env = _environment(Interpolation(environ, folder=cwd), Problems())
    return overrides.absolute(
        cwd / env.get("APPLIANCE_DATA", _home(env, cwd) / _DEFAULT_DATA)
    )


def _home(env: Mapping[str, str], cwd: Path) -> Path:
    return Path("/") if "APPLIANCE_IMAGE" in env else cwd


def load(
    environ: Mapping[str, str],
    *,
    cwd: Path,
    machine: machine_limits.Machine | None = None,
    in_force: Mapping[str, Any] | None = None,
) -> Config:
    """Read the configuration of this appliance.

    Args:
        environ: the environment; an empty variable counts as unset.
        cwd: what relative paths of the environment and the defaults start from;
            in our image the defaults start from the root folder.
        machine: what this process may use; read from the kernel when None.
        in_force: what an appliance that is up has read from its file, which then is not
            read, so that there are no connections and variables.

    Raises:
        ConfigError: with everything that is wrong, one line a problem.
    """
    problems = Problems()
    references = Interpolation(environ, folder=cwd)
    env = _environment(references, problems)
    home = _home(env, cwd)
    file = cwd / env.get("APPLIANCE_CONF", home / _DEFAULT_FILE)
    settings = in_force
    if settings is None:
        settings = _file_settings(
            file, env, cwd=cwd, references=references, problems=problems
        )
    given = {name: value for name, value in env.items() if name in environ}
    project = _project(env, cwd, problems)
    astro_settings = astro.read(
        project if in_force is None else None, references=references, problems=problems
    )
    key_file = env.get("APPLIANCE_KEY_FILE")
    config = Config(
        file=file,
        data=data_folder(environ, cwd=cwd),
        is_in_environment="APPLIANCE_CONFIG" in env,
        project=project,
        role=overrides.role(env, settings, problems),
        temporal=overrides.temporal(env, settings, problems),
        worker=overrides.worker(settings, machine or machine_limits.machine()),
        dags=overrides.dags(env, settings, (cwd, project or home), problems),
        disk=DiskSettings(**schema.under(settings, "disk")),
        schedules=settings.get("schedules", ()),
        secrets=_secrets(
            settings, astro_settings.secrets, _kept_in_files(env, given), problems
        ),
        pools=settings.get("pools", {}) | astro_settings.pools,
        airflow_env=airflow_environment.airflow_variables(given),
        temporal_env=_temporal_variables(env),
        python_path=env.get("PYTHONPATH", ""),
        key_path=overrides.absolute(cwd / key_file) if key_file else None,
        restart_settings=schema.until_restart(settings),
    )
    overrides.check_role(config, env, problems)
    airflow_environment.check(config.airflow_env, problems)
    remote_logs.check(
        airflow_environment.airflow_environment(config),
        config.secrets.connections if in_force is None else None,
        problems,
    )
    problems.check()
    return replace(
        config,
        sources=frozenset(references.files),
        notes=tuple(references.notes),
        warnings=(*_warnings(env, config), *astro_settings.warnings),
    )


def _environment(references: Interpolation, problems: Problems) -> dict[str, str]:
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
    project = overrides.absolute(cwd / named)
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
            conn_id, place = (
                name.removeprefix(_CONNECTION).lower(),
                SourceLocation(name, 1, 1),
            )
            where = f"what {name}_FILE names"
            found[conn_id] = Value(name, place, place, env[name], env[name], where)
    return found


def _secrets(
    settings: Mapping[str, Any],
    astro_secrets: Secrets,
    in_files: Mapping[str, Value],
    problems: Problems,
) -> Secrets:
    """Join the connections and variables of all files; the environment wins."""
    connections: dict[str, Connection] = settings.get("secrets.connections", {})
    variables: dict[str, str] = settings.get("secrets.variables", {})
    return Secrets(
        connections=connections
        | astro_secrets.connections
        | read_map(in_files, problems),
        variables=variables | astro_secrets.variables,
    )


def _file_settings(
    file: Path,
    env: Mapping[str, str],
    *,
    cwd: Path,
    references: Interpolation,
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
    text: str, cwd: Path, references: Interpolation, problems: Problems
) -> Value | None:
    if _YAML_PATH.fullmatch(text.strip()):
        what = "holds the whole file; the path of one goes into APPLIANCE_CONF"
        problems.add("APPLIANCE_CONFIG", what)
        return None
    source = Source("APPLIANCE_CONFIG", cwd, references, has_variables=True)
    return read_text(text, source, problems)


def _warnings(env: Mapping[str, str], config: Config) -> tuple[str, ...]:
    found = []
    if "TEMPORAL_HOST" in env and "TEMPORAL_ADDRESS" not in env:
        found.append("TEMPORAL_HOST is an old name, write TEMPORAL_ADDRESS.")
    ignored = airflow_environment.ignored(config.airflow_env)
    if ignored:
        found.append(
            "No effect here, as there is no Airflow scheduler, web server or "
            f"database: {', '.join(ignored)}."
        )
    found += _misspelt(env)
    return tuple(found)


def _misspelt(env: Mapping[str, str]) -> list[str]:
    known = _KNOWN | {f"{name}_FILE" for name in _IN_FILES}
    found = []
    for name in sorted(env):
        if name.startswith("APPLIANCE") and name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.8)
            found += [f"{name} is unknown, did you mean {one}?" for one in near]
    return found
