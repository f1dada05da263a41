"""Masking of secrets in everything that a try makes visible, by Airflow's own ``SecretsMasker``.

Masking is the supervisor's work: a child sends its logs unmasked. One masker a try; a shared one
would hide the secrets of one task in the logs of another. The class is loaded from its file, so that
this process does not import Airflow.

Source: Airflow 3.3: ``airflow/settings.py`` (_configure_secrets_masker), ``sdk/_shared/secrets_masker``.
"""

import importlib.util
import json
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import quote, quote_plus

from appliance.config.model import Connection

T = TypeVar("T")

_FILE = "sdk/_shared/secrets_masker/secrets_masker.py"
_MODULE = "appliance_secrets_masker"
_MIN_LENGTH = "AIRFLOW__LOGGING__MIN_LENGTH_MASKED_SECRET"
_NAMES = "AIRFLOW__CORE__SENSITIVE_VAR_CONN_NAMES"
_HIDE = "AIRFLOW__CORE__HIDE_SENSITIVE_VAR_CONN_FIELDS"
_CONNECTION = "AIRFLOW_CONN_"
_NAMED = (_CONNECTION, "AIRFLOW_VAR_", "AIRFLOW__")
_SENSITIVE = frozenset(
    f"AIRFLOW__{option}"
    for option in (
        "API__SECRET_KEY",
        "API_AUTH__JWT_SECRET",
        "ATLAS__PASSWORD",
        "CELERY__BROKER_URL",
        "CELERY__RESULT_BACKEND",
        "CORE__ASSET_MANAGER_KWARGS",
        "CORE__FERNET_KEY",
        "CORE__SQL_ALCHEMY_CONN",
        "DATABASE__SQL_ALCHEMY_CONN",
        "DATABASE__SQL_ALCHEMY_CONN_ASYNC",
        "DATABASE__SQL_ALCHEMY_ENGINE_ARGS",
        "LOGGING__REMOTE_TASK_HANDLER_KWARGS",
        "OPENSEARCH__PASSWORD",
        "SECRETS__BACKEND_KWARGS",
        "SENTRY__SENTRY_DSN",
        "WEBSERVER__SECRET_KEY",
        "WORKERS__SECRETS_BACKEND_KWARGS",
    )
)
"""Options that Airflow calls sensitive, whatever their name says."""
_SENSITIVE_PARTS = (
    "AIRFLOW__SECRETS__BACKEND_KWARG__",
    "AIRFLOW__WORKERS__SECRETS_BACKEND_KWARG__",
)
"""Parts of such options, each in a variable of its own."""
_ESCAPES = (repr, json.dumps, partial(json.dumps, ensure_ascii=False))
_QUOTES = (quote, partial(quote, safe=""), quote_plus)
_LEAST_LINE = 8
"""Shorter lines of a secret are not secret by themselves, such as a brace."""
_DEPTH = 100
"""Airflow stops masking strings at depth 5, which the exceptions of an exception group are beyond."""


class Masker:
    """The secrets of one try."""

    def __init__(self, airflow_env: Mapping[str, str] | None = None) -> None:
        """Know what a task sees in its environment: ``airflow_env``, which has the settings about masking, too."""
        env = airflow_env or {}
        self._known: frozenset[str] = frozenset()
        self._masker = _masker(env)
        patterns, self._masker.replacer = _of_environment(tuple(sorted(env.items())))
        self._masker.patterns = set(patterns)

    def add(self, secret: object, name: str | None = None) -> None:
        """Hide ``secret``, text or a structure of texts; with a name, only if that names something sensitive."""
        match secret:
            case str():
                if _add(self._masker, secret, name):
                    self._known |= {secret}
            case Mapping():
                for key, item in secret.items():
                    self.add(item, str(key))
            case Iterable():
                for item in secret:
                    self.add(item, name)
            case _:
                pass  # A number, or nothing.

    @property
    def known(self) -> frozenset[str]:
        """Every secret there is to hide; for who goes on with what this try had in hand."""
        return self._known

    def add_connection(self, connection: Connection) -> None:
        """Hide the password, and the extra, also its sensitive fields."""
        if connection.password:
            self.add(connection.password)
        if connection.extra:
            self.add(connection.extra)
            self.add(_decoded(connection.extra))

    def hide(self, value: T) -> T:
        """Return ``value``, text or JSON, with every secret replaced by ``***``."""
        hidden: T = self._masker.redact(value, max_depth=_DEPTH)
        return hidden


def _masker(env: Mapping[str, str]) -> Any:
    module = _secrets_masker_module()
    names = (name.strip() for name in env.get(_NAMES, "").split(","))
    masker = module.SecretsMasker()
    masker.sensitive_variables_fields = [
        *module.DEFAULT_SENSITIVE_FIELDS,
        *filter(None, names),
    ]
    masker.min_length_to_mask = int(env.get(_MIN_LENGTH, "5"))
    hides = env.get(_HIDE, "true").strip().lower()
    masker.hide_sensitive_var_conn_fields = hides in {"true", "t", "1", "yes", "y"}
    return masker


@lru_cache(maxsize=4)
def _of_environment(
    env: tuple[tuple[str, str], ...],
) -> tuple[frozenset[str], re.Pattern[str] | None]:
    """Return what hides the secrets of an environment as a whole: a task may print it without having asked for them.

    Not the password within a connection's URI, which may be any word as long as nobody uses it.
    """
    masker = _masker(dict(env))
    for variable, value in env:
        prefix = next((one for one in _NAMED if variable.startswith(one)), "")
        name = variable.removeprefix(prefix).rpartition("__")[2].lower()
        is_secret = (
            prefix == _CONNECTION
            or variable in _SENSITIVE
            or variable.startswith(_SENSITIVE_PARTS)
            or masker.should_hide_value_for_key(name)
        )
        if prefix and is_secret and len(value) >= masker.min_length_to_mask:
            _add(masker, value, None)
    return frozenset(masker.patterns), masker.replacer


def _add(masker: Any, secret: str, name: str | None) -> bool:
    """Hide a text in all its forms; return whether it counts as a secret."""
    masker.add_mask(secret, name)
    if re.escape(secret) not in masker.patterns:
        return False
    more = {re.escape(form) for form in _forms(secret)} - masker.patterns
    if more:
        masker.patterns |= more
        # Sorted, so that other tries with these secrets need not compile it again.
        masker.replacer = re.compile("|".join(sorted(masker.patterns)))
    return True


def _forms(secret: str) -> set[str]:
    """Return what a secret looks like in text that people see: in JSON, in a URI, in the ``repr`` of what holds it.

    Of a secret of several lines also each line, since output is masked line by line.
    """
    lines = {line.strip() for line in secret.splitlines()}
    texts = {secret, *(line for line in lines if len(line) >= _LEAST_LINE)}
    escaped = {escape(text)[1:-1] for text in texts for escape in _ESCAPES}
    # A traceback shows the repr of a list in the repr of an exception.
    twice = {escape(text)[1:-1] for text in escaped for escape in (repr, json.dumps)}
    # A connection's URI has its extra as JSON.
    quotable = (secret, json.dumps(secret)[1:-1])
    quoted = {quote_(text) for text in quotable for quote_ in _QUOTES}
    return texts | escaped | twice | quoted


def _decoded(extra: str) -> dict[str, Any]:
    try:
        fields = json.loads(extra)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


@cache
def _secrets_masker_module() -> ModuleType:
    airflow = importlib.util.find_spec("airflow")  # Finds it without importing it.
    if airflow is None or airflow.submodule_search_locations is None:
        raise ModuleNotFoundError("Airflow is not installed")
    folders = [Path(folder) for folder in airflow.submodule_search_locations]
    file = next(folder / _FILE for folder in folders if (folder / _FILE).exists())
    spec = importlib.util.spec_from_file_location(_MODULE, file)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"{file} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    # Pydantic resolves the file's annotations through here.
    sys.modules[_MODULE] = module
    spec.loader.exec_module(module)
    return module
