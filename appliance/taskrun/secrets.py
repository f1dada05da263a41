"""Connections and Variables: those the run was submitted with win over those of the configuration.

The child asks Airflow's secrets backends and its environment by itself; what arrives here is the rest,
and, for a run with its own, everything it was told to ask us first.

Source: Airflow 3.3: ``sdk/execution_time/request_handlers.py``, ``api_fastapi/execution_api/routes/variables.py``.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from appliance.config.model import Connection, Secrets
from appliance.taskrun.masking import Masker
from appliance.taskrun.shapes import (
    DONE,
    Body,
    Handler,
    later,
    later_text,
    not_found,
    refusal,
    result,
)
from appliance.warm.frames import Reply

WRITES = "writing Variables at run time is"

T = TypeVar("T")
Own = Callable[[], Awaitable[Secrets | None]]


class SecretAnswers:
    """The answers about connections and Variables; what they hand out is masked from then on."""

    def __init__(self, *, configured: Secrets, own: Own, masker: Masker) -> None:
        """Answer from ``own``, asked at most once and only when needed, then from ``configured``."""
        self._configured = configured
        self._ask_own = own
        self._own: Secrets | None = None
        self._is_asked = False
        self._masker = masker

    def handlers(self) -> dict[str, Handler]:
        """Return message type → handler."""
        return {
            "GetConnection": self._connection,
            "GetVariable": self._variable,
            "GetVariableKeys": self._variable_keys,
            "PutVariable": later(WRITES),
            "DeleteVariable": later(WRITES),
            "MaskSecret": self._mask,
        }

    async def _connection(self, body: Body) -> Reply:
        conn_id = body["conn_id"]
        for secrets in await self._layers():
            if (found := secrets.connections.get(conn_id)) is not None:
                self._masker.add_connection(found)
                return result("ConnectionResult", **_fields(conn_id, found))
        return not_found("CONNECTION_NOT_FOUND", conn_id=conn_id)

    async def _variable(self, body: Body) -> Reply:
        key = body["key"]
        for secrets in await self._layers():
            if (value := secrets.variables.get(key)) is not None:
                self._masker.add(value, key)
                return result("VariableResult", key=key, value=value)
        return not_found("VARIABLE_NOT_FOUND", key=key)

    async def _variable_keys(self, body: Body) -> Reply:
        prefix = body.get("prefix") or ""
        keys = sorted(
            {
                key
                for secrets in await self._layers()
                for key in secrets.variables
                if key.startswith(prefix)
            }
        )
        start = body.get("offset") or 0
        page = keys[start : start + body.get("limit", 1000)]
        return result("VariableKeysResult", keys=page, total_entries=len(keys))

    async def _mask(self, body: Body) -> Reply:
        self._masker.add(body["value"], body.get("name"))
        return DONE

    async def _layers(self) -> tuple[Secrets, ...]:
        if not self._is_asked:
            self._own = await self._ask_own()
            self._is_asked = True
        if self._own is None:
            return (self._configured,)
        return self._own, self._configured


class ParseAnswers:
    """The answers to one process that reads a DAG file, which then may show what it was told."""

    def __init__(self, configured: Secrets, airflow_env: Mapping[str, str]) -> None:
        """Answer from ``configured``; ``airflow_env`` has Airflow's settings about masking."""
        self._masker = Masker(airflow_env)
        answers = SecretAnswers(configured=configured, own=_no_own, masker=self._masker)
        self._handlers = answers.handlers()

    async def answer(self, kind: str, body: Body) -> Reply:
        """Answer one question; only connections and Variables can be had at that time."""
        handler = self._handlers.get(kind)
        if handler is None:
            text = f"{kind} asked while a DAG file is read: that is"
            return refusal(later_text(text))
        return await handler(body)

    def hide(self, value: T) -> T:
        """Return ``value`` without any secret the process has learnt."""
        return self._masker.hide(value)


async def _no_own() -> Secrets | None:
    return None


def _fields(conn_id: str, connection: Connection) -> Body:
    # The SDK's model requires a conn_type; Airflow has no connection without one.
    return {
        "conn_id": conn_id,
        "conn_type": connection.conn_type or "",
        "host": connection.host,
        "schema": connection.schema,
        "login": connection.login,
        "password": connection.password,
        "port": connection.port,
        "extra": connection.extra,
    }
