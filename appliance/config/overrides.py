"""Settings from the environment laid over those of the file, and checks that concern several settings.

The environment beats the file; defaults are in ``config.model``.
"""

import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from appliance.config import machine_limits, schema, value_types
from appliance.config.model import (
    Config,
    DagSettings,
    Role,
    TemporalSettings,
    WorkerSettings,
)
from appliance.config.problems import Problems, repeatable

_DEFAULT_DAGS = Path("dags")
_DEFAULT_PLUGINS = Path("plugins")
PORTS = {
    "APPLIANCE_PORT": "port",
    "APPLIANCE_UI_PORT": "ui_port",
    "APPLIANCE_METRICS_PORT": "metrics_port",
}
_MOST_PORT = 65535
_BOOLEANS = {
    **dict.fromkeys(("true", "t", "1"), True),
    **dict.fromkeys(("false", "f", "0"), False),
}


def role(env: Mapping[str, str], values: Mapping[str, Any], problems: Problems) -> Role:
    """Return which half of the appliance this is."""
    named = env.get("APPLIANCE_ROLE", values.get("role", "all"))
    if named not in schema.ROLES:
        what = f"expected one of {', '.join(schema.ROLES)}, not {repeatable(named)}"
        problems.add("APPLIANCE_ROLE", what)
        return "all"
    return cast(Role, named)


def temporal(
    env: Mapping[str, str], written: Mapping[str, Any], problems: Problems
) -> TemporalSettings:
    """Return where the server is, and how the bundled one listens."""
    values = schema.under(written, "temporal")
    values["address"] = (
        env.get("TEMPORAL_ADDRESS") or env.get("TEMPORAL_HOST") or values.get("address")
    )
    values["namespace"] = env.get("TEMPORAL_NAMESPACE") or values.get("namespace")
    values["task_queue"] = env.get("TEMPORAL_TASK_QUEUE") or values.get("task_queue")
    for name in ("ip", "ui_ip"):
        values[name] = env.get("APPLIANCE_IP") or values.get(name)
    values["ui_hosts"] = _ui_hosts(env, problems) or values.get("ui_hosts")
    for variable, name in PORTS.items():
        values[name] = _port(env, variable, problems) or values.get(name)
    settings = TemporalSettings(**_given(values))
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


def _ui_hosts(env: Mapping[str, str], problems: Problems) -> str | None:
    variable = "APPLIANCE_UI_HOSTS"
    written = env.get(variable)
    if not written:
        return None
    found = value_types.names_of_hosts(written)
    if found is None:
        what = f"expected {value_types.HOST_NAMES}, not {repeatable(written)}"
        problems.add(variable, what)
    return found


def _check_addresses(env: Mapping[str, str], problems: Problems) -> None:
    for name in ("TEMPORAL_ADDRESS", "TEMPORAL_HOST"):
        if name in env and not value_types.is_address(env[name]):
            what = "expected host:port, such as temporal.example.com:7233"
            problems.add(name, f"{what}, not {repeatable(env[name])}")


def _check_ports(
    settings: TemporalSettings, env: Mapping[str, str], problems: Problems
) -> None:
    ports = {name: getattr(settings, name) for name in PORTS.values()}
    if len(set(ports.values())) == len(ports):
        return
    listed = ", ".join(f"{name} {number}" for name, number in ports.items())
    what = f"the ports must differ: {listed}"
    named = [variable for variable in PORTS if variable in env]
    written = [name for name in ports if f"temporal.{name}" in problems.places]
    if named:
        problems.add(named[-1], what)
    else:
        problems.add_for(f"temporal.{written[-1]}", what)


def worker(
    values: Mapping[str, Any], machine: machine_limits.Machine
) -> WorkerSettings:
    """Return how tasks are run; without a configured parallelism, the machine decides it."""
    default: dict[str, Any] = {"parallelism": machine_limits.parallelism(machine)}
    return WorkerSettings(**(default | schema.under(values, "worker")))


def dags(
    env: Mapping[str, str],
    written: Mapping[str, Any],
    starts: tuple[Path, Path],
    problems: Problems,
) -> DagSettings:
    """Find the folders; ``starts``: what the environment's paths and the defaults start from."""
    cwd, home = starts
    folder: str | Path | None = env.get("AIRFLOW__CORE__DAGS_FOLDER")
    plugins: str | Path | None = env.get("AIRFLOW__CORE__PLUGINS_FOLDER")
    values = schema.under(written, "dags")
    values["import_timeout_s"] = _import_timeout_s(env, problems)
    folder = folder or values.get("folder") or home / _DEFAULT_DAGS
    plugins = plugins or values.get("plugins_folder") or home / _DEFAULT_PLUGINS
    values["schedules"] = _schedule_mode(env, problems) or values.get("schedules")
    values["folder"] = absolute(cwd / folder)
    values["plugins_folder"] = absolute(cwd / plugins)
    return DagSettings(**_given(values))


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


def check_role(config: Config, env: Mapping[str, str], problems: Problems) -> None:
    """Note where role and address do not go together."""
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


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def absolute(path: Path) -> Path:
    """Make a path absolute and plain, keeping symbolic links as they are written."""
    return Path(os.path.normpath(path.expanduser()))
