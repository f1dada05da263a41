"""Airflow's environment variables: which have an effect here, and which Airflow is started with."""

import json
import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path

from appliance.config.model import Config
from appliance.config.problems import Problems
from appliance.errors import ConfigError

_PREFIXES = ("AIRFLOW__", "AIRFLOW_CONN_", "AIRFLOW_VAR_")
_NAMES = ("AIRFLOW_HOME", "AIRFLOW_CONFIG")
_XCOM_BACKEND = "appliance.forkserver.xcom_backend.XComBackend"
_XCOM_THRESHOLD_BYTES = 16384

_IGNORED_SECTIONS = frozenset(
    {
        "API",
        "API_AUTH",
        "CALLBACKS",
        "CELERY",
        "CELERY_BROKER_TRANSPORT_OPTIONS",
        "CONNECTION_TEST",
        "DAG_PROCESSOR",
        "DASK",
        "DATABASE",
        "EDGE",
        "EXECUTION_API",
        "FAB",
        "KUBERNETES",
        "KUBERNETES_EXECUTOR",
        "SCHEDULER",
        "TRIGGERER",
        "WEBSERVER",
    }
)
_IGNORED = frozenset(
    {
        "CORE__AUTH_MANAGER",
        "CORE__EXECUTION_API_SERVER_URL",
        "CORE__EXECUTOR",
        "CORE__FERNET_KEY",
        "CORE__PARALLELISM",
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE",
        "CORE__SIMPLE_AUTH_MANAGER_USERS",
        "CORE__SQL_ALCHEMY_CONN",
        "LOGGING__BASE_LOG_FOLDER",
        "STATE_STORE__BACKEND",
    }
)
_TIME_ZONE = "AIRFLOW__CORE__DEFAULT_TIMEZONE"
_YES = ("true", "t", "1")
_REMOTE_LOGS = (
    "AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS",
    "AIRFLOW__LOGGING__REMOTE_LOGGING_CMD",
    "AIRFLOW__LOGGING__REMOTE_LOGGING_SECRET",
)
_OBJECTS = (
    "AIRFLOW__SECRETS__BACKEND_KWARGS",
    "AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS",
)
_READ_BY_TASKS = frozenset(
    {
        "API__BASE_URL",
        "DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT",
        "SCHEDULER__CATCHUP_BY_DEFAULT",
        "SCHEDULER__CREATE_CRON_DATA_INTERVALS",
        "SCHEDULER__CREATE_DELTA_DATA_INTERVALS",
    }
)
"""Options of a section that is otherwise not for tasks, which a task, a parse or a callback heeds."""


def airflow_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what of an environment is meant for Airflow."""
    return {
        name: value
        for name, value in sorted(environ.items())
        if name.startswith(_PREFIXES) or name in _NAMES
    }


def check(environ: Mapping[str, str], problems: Problems) -> None:
    """Note arguments of a secrets backend, and a time zone, that Airflow would ignore."""
    for name in _OBJECTS:
        try:
            is_object = isinstance(json.loads(environ.get(name) or "{}"), dict)
        except json.JSONDecodeError as err:
            where = f"{err.msg} at line {err.lineno}, column {err.colno}"
            problems.add(name, f"is no JSON object: {where}")
        else:
            if not is_object:
                problems.add(name, 'is no JSON object, as in {"url": "..."}')
    _check_time_zone(environ.get(_TIME_ZONE, ""), problems)


def _check_time_zone(name: str, problems: Problems) -> None:
    """Note a time zone for which Airflow would take UTC without a word."""
    if not name or name == "system" or name.lower() == "utc":
        return
    from zoneinfo import ZoneInfo, available_timezones  # Most commands need neither.

    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        near = get_close_matches(name, available_timezones(), n=1)
        expected = (
            "a name of the IANA database is expected, as in Europe/Berlin, or system"
        )
        hint = f", did you mean {near[0]!r}?" if near else f"; {expected}"
        problems.add(_TIME_ZONE, f"unknown time zone {name!r}{hint}")


def ignored(names: Iterable[str]) -> list[str]:
    """Return the options that configure a part of Airflow that does not exist here."""
    return sorted(name for name in names if _is_ignored(name))


def airflow_environment(config: Config) -> dict[str, str]:
    """Return the variables that every process which imports Airflow is started with, in addition.

    The user's own settings win, but for those that would have Airflow look for DAG
    files, or logs, elsewhere than the appliance does.
    """
    home = config.data / "airflow"
    dags = str(config.dags.folder)
    bundle = {
        "name": "dags-folder",
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": dags},
    }
    defaults = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__XCOM_BACKEND": _XCOM_BACKEND,
        "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH": f"file://{config.data}/xcom",
        "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD": str(_XCOM_THRESHOLD_BYTES),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/unused.db",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    fixed = {
        "AIRFLOW__CORE__DAGS_FOLDER": dags,
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(config.data / "logs"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(config.dags.plugins_folder),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
    }
    return defaults | config.airflow_env | fixed | _import_path(config)


def may_refer_to_xcom(config: Config, text: str) -> bool:
    """Whether an XCom may be a reference to a value that a worker has to fetch; another backend's may be any text."""
    environment = airflow_environment(config)
    if environment["AIRFLOW__CORE__XCOM_BACKEND"] != _XCOM_BACKEND:
        return True
    scheme, is_url, _ = environment[
        "AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH"
    ].partition("://")
    return text.startswith(f"{scheme}://") if is_url else "/" in text


def may_have_remote_logs(config: Config) -> bool:
    """Whether Airflow may be configured to keep logs elsewhere; only Airflow itself knows for sure."""
    environment = airflow_environment(config)
    home = Path(environment["AIRFLOW_HOME"])
    if Path(environment.get("AIRFLOW_CONFIG", home / "airflow.cfg")).exists():
        return True
    switch = environment.get("AIRFLOW__LOGGING__REMOTE_LOGGING", "")
    return switch.lower() in _YES or any(map(environment.get, _REMOTE_LOGS))


def _import_path(config: Config) -> dict[str, str]:
    """Let DAG files of a project import from its ``include`` folder, as with Astro."""
    if config.project is None:
        return {}
    folders = [str(config.project), config.python_path]
    return {"PYTHONPATH": os.pathsep.join(filter(None, folders))}


def airflow_number(config: Config, option: str, default: float) -> float:
    """Return an option of Airflow's that is read here, too; ``option`` as in ``CORE__PARALLELISM``.

    Raises:
        ConfigError: it is no number.
    """
    name = f"AIRFLOW__{option}"
    text = config.airflow_env.get(name)
    if text is None:
        return default
    try:
        return float(text)
    except ValueError as err:
        raise ConfigError(f"{name}: {text!r} is no number") from err


def _is_ignored(name: str) -> bool:
    if not name.startswith("AIRFLOW__"):
        return False
    option = name.removeprefix("AIRFLOW__")
    # These end an option whose value is the output of a command or a secret's name.
    option = option.removesuffix("_CMD").removesuffix("_SECRET")
    if option in _READ_BY_TASKS:
        return False
    return option in _IGNORED or option.split("__", 1)[0] in _IGNORED_SECTIONS
