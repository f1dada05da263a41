"""Check of Airflow's settings for remote logs, before Airflow fails to import because of them.

Source: Airflow 3.3: ``config_templates/airflow_local_settings.py``.
"""

import importlib.metadata
import sys
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path

from appliance.config.problems import Problems

_SWITCH = "AIRFLOW__LOGGING__REMOTE_LOGGING"
_FOLDER = "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER"
_CONNECTION = "AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID"
_SECRETS_BACKENDS = (
    "AIRFLOW__SECRETS__BACKEND",
    "AIRFLOW__WORKERS__SECRETS_BACKEND",
)
"""One of these may have any connection."""
_ELSEWHERE = (
    "AIRFLOW_CONFIG",
    "AIRFLOW__LOGGING__LOGGING_CONFIG_CLASS",
    "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER_CMD",
    "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER_SECRET",
    "AIRFLOW__ELASTICSEARCH__HOST",
    "AIRFLOW__OPENSEARCH__HOST",
)
"""With one of these the place is not ours to judge."""
_YES = ("true", "t", "1")
_PROVIDERS = {
    "s3://": "amazon",
    "cloudwatch://": "amazon",
    "gs://": "google",
    "stackdriver://": "google",
    "wasb": "microsoft.azure",
    "oss://": "alibaba",
    "hdfs://": "apache.hdfs",
}
"""How a place begins → the provider that reaches it."""


def check(
    env: Mapping[str, str], connections: Collection[str] | None, problems: Problems
) -> None:
    """Note what keeps Airflow from keeping logs where its environment says.

    Args:
        env: what Airflow is started with.
        connections: ids of those of the configuration; None when they are not known.
        problems: where it is noted.
    """
    is_on = env.get(_SWITCH, "").lower() in _YES
    if not is_on or any(map(env.get, _ELSEWHERE)) or _has_file(env):
        return
    place = env.get(_FOLDER, "")
    head = next((one for one in _PROVIDERS if place.startswith(one)), None)
    heads = ", ".join(_PROVIDERS)
    if not place:
        what = f"is on, but {_FOLDER} does not say where to"
        problems.add(_SWITCH, f"{what}; it begins with one of {heads}")
    elif head is None:
        what = "Airflow keeps no logs there; it is to begin with one of"
        problems.add(_FOLDER, f"{what} {heads}")
    elif not _is_installed(provider := _PROVIDERS[head]):
        what = (
            f"{head} needs a package that is not installed: pip install "
            f"{_package(provider)} (in an image of your own, if it is one), or unset {_SWITCH}"
        )
        problems.add(_FOLDER, what)
    if connections is not None:
        _check_connection(env, connections, problems)


def _check_connection(
    env: Mapping[str, str], connections: Collection[str], problems: Problems
) -> None:
    """Note a connection that is nowhere. Without the default ones providers take the rights of the machine."""
    conn_id = env.get(_CONNECTION, "")
    is_elsewhere = any(map(env.get, _SECRETS_BACKENDS))
    if not conn_id or is_elsewhere or conn_id.endswith("_default"):
        return
    variable = f"AIRFLOW_CONN_{conn_id.upper()}"
    if conn_id in connections or variable in env:
        return
    near = get_close_matches(conn_id, connections, n=1)
    hint = f", did you mean {near[0]!r}? Declare" if near else "; declare"
    what = f"there is no connection {conn_id!r}{hint} it in appliance.yaml or as"
    problems.add(_CONNECTION, f"{what} {variable}, or unset the variable")


def _has_file(env: Mapping[str, str]) -> bool:
    """Whether there is an ``airflow.cfg``, which may say more."""
    return Path(env["AIRFLOW_HOME"], "airflow.cfg").exists()


def _is_installed(provider: str) -> bool:
    """Whether Airflow would find a provider; importing Airflow to ask it takes seconds."""
    folder = Path("airflow", "providers", *provider.split("."))
    if any(Path(entry, folder).is_dir() for entry in sys.path):
        return True
    try:
        importlib.metadata.version(_package(provider))
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _package(provider: str) -> str:
    return f"apache-airflow-providers-{provider.replace('.', '-')}"
