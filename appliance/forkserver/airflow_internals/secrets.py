"""Masking of the secrets that a process has fetched, and the order in which secrets backends are asked.

Pinned to the names listed in ``pinned_names``.
"""

from collections.abc import Collection
from typing import Any

from airflow.sdk._shared import secrets_masker
from airflow.sdk.bases.secrets_backend import BaseSecretsBackend
from airflow.sdk.execution_time import supervisor
from airflow.sdk.execution_time.secrets import ExecutionAPISecretsBackend


def without_secrets(text: str) -> str:
    """Return ``text`` with ``***`` for every secret that was fetched in this process."""
    return str(secrets_masker.redact(text))


def redacted(value: Any) -> Any:
    """Return a value with ``***`` for every secret in it, and for what a key says is one."""
    return secrets_masker.redact(value)


def ask_supervisor_first(
    connections: Collection[str], variables: Collection[str]
) -> None:
    """Look these ids up at the supervisor before any other secrets backend."""

    class Submitted(ExecutionAPISecretsBackend):  # type: ignore[misc]
        def get_connection(self, conn_id: str, team_name: str | None = None) -> Any:
            return super().get_connection(conn_id) if conn_id in connections else None

        async def aget_connection(self, conn_id: str) -> Any:
            if conn_id not in connections:
                return None
            return await super().aget_connection(conn_id)

        def get_variable(self, key: str, team_name: str | None = None) -> Any:
            return super().get_variable(key) if key in variables else None

        async def aget_variable(self, key: str) -> Any:
            return await super().aget_variable(key) if key in variables else None

    _put_first(Submitted())


def _put_first(backend: BaseSecretsBackend) -> None:
    load = supervisor.ensure_secrets_backend_loaded

    def with_submitted() -> list[Any]:
        return [backend, *load()]

    supervisor.ensure_secrets_backend_loaded = with_submitted
