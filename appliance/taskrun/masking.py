"""Hiding secrets in whatever a try makes visible, by Airflow's own ``SecretsMasker``.

Masking is the supervisor's work: a child sends its logs unmasked. One masker a try; a shared one
would hide the secrets of one task in the logs of another. The class is loaded from its file, so that
this process does not import Airflow.

Source: Airflow 3.3: ``airflow/settings.py`` (_configure_secrets_masker), ``sdk/_shared/secrets_masker``.
"""

import importlib.util
import json
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar
from urllib.parse import quote

from appliance.config.model import Connection

T = TypeVar("T")

_FILE = "sdk/_shared/secrets_masker/secrets_masker.py"
_MODULE = "appliance_secrets_masker"
_MIN_LENGTH = "AIRFLOW__LOGGING__MIN_LENGTH_MASKED_SECRET"
_NAMES = "AIRFLOW__CORE__SENSITIVE_VAR_CONN_NAMES"
_HIDE = "AIRFLOW__CORE__HIDE_SENSITIVE_VAR_CONN_FIELDS"
_DEPTH = 100
"""Airflow stops masking strings at depth 5, which the exceptions of an exception group are beyond."""


class Masker:
    """The secrets of one try."""

    def __init__(self, airflow_env: Mapping[str, str] | None = None) -> None:
        """Know no secret yet; ``airflow_env`` has Airflow's settings about masking."""
        env = airflow_env or {}
        module = _secrets_masker_module()
        names = (name.strip() for name in env.get(_NAMES, "").split(","))
        self._masker: Any = module.SecretsMasker()
        self._masker.sensitive_variables_fields = [
            *module.DEFAULT_SENSITIVE_FIELDS,
            *filter(None, names),
        ]
        self._masker.min_length_to_mask = int(env.get(_MIN_LENGTH, "5"))
        self._masker.hide_sensitive_var_conn_fields = env.get(
            _HIDE, "true"
        ).strip().lower() in {"true", "t", "1", "yes", "y"}

    def add(self, secret: object, name: str | None = None) -> None:
        """Hide ``secret``, text or a structure of texts; with a name, only if that names something sensitive."""
        if secret:
            self._masker.add_mask(secret, name)

    def add_connection(self, connection: Connection) -> None:
        """Hide the password, also as it looks in a URI, and the extra, also its sensitive fields."""
        if connection.password:
            self.add(connection.password)
            self.add(quote(connection.password, safe=""))
        if connection.extra:
            self.add(connection.extra)
            self.add(_decoded(connection.extra))

    def hide(self, value: T) -> T:
        """Return ``value``, text or JSON, with every secret replaced by ``***``."""
        hidden: T = self._masker.redact(value, max_depth=_DEPTH)
        return hidden


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
