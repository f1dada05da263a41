"""Connections and Variables of a try: first of the submission, then written by tasks, then configured.

The child asks Airflow's secrets backends and its environment by itself; what arrives here is the rest,
and, for a run with its own, everything it was told to ask us first.

Source: Airflow 3.3: ``sdk/execution_time/request_handlers.py``, ``api_fastapi/execution_api/routes/variables.py``.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from appliance.config.model import Connection, Secrets
from appliance.forkserver.frames import Reply
from appliance.taskrun.kv_store import KvStoreProtocol
from appliance.taskrun.masking import Masker
from appliance.taskrun.responses import (
    DONE,
    OK,
    Body,
    Handler,
    answered,
    later_text,
    not_found,
    refusal,
    result,
)

T = TypeVar("T")
Own = Callable[[], Awaitable[Secrets | None]]


class SecretAnswers:
    """The answers about connections and Variables; what they hand out is masked from then on."""

    def __init__(
        self, *, configured: Secrets, own: Own, written: KvStoreProtocol, masker: Masker
    ) -> None:
        """Answer from ``own``, asked at most once and only when needed, then ``written``, then ``configured``."""
        self._configured = configured
        self._written = written
        self._ask_own = own
        self._own: Secrets | None = None
        self._masker = masker

    def handlers(self) -> dict[str, Handler]:
        """Return message type → handler."""
        return {
            "GetConnection": self._connection,
            "GetVariable": self._variable,
            "GetVariableKeys": self._variable_keys,
            "PutVariable": self._put_variable,
            "DeleteVariable": self._delete_variable,
            "MaskSecret": self._mask,
        }

    async def _connection(self, body: Body) -> Reply:
        conn_id = body["conn_id"]
        own = await self._own_secrets()
        for secrets in (own, self._configured):
            if (found := secrets.connections.get(conn_id)) is not None:
                self._masker.add_connection(found)
                return result("ConnectionResult", **_fields(conn_id, found))
        return not_found("CONNECTION_NOT_FOUND", conn_id=conn_id)

    async def _variable(self, body: Body) -> Reply:
        key = body["key"]
        value = (await self._own_secrets()).variables.get(key)
        if value is None:
            kept = await self._written.get(key)
            value = kept.value if kept else self._configured.variables.get(key)
        if value is None:
            return not_found("VARIABLE_NOT_FOUND", key=key)
        self._masker.add(value, key)
        return result("VariableResult", key=key, value=value)

    async def _put_variable(self, body: Body) -> Reply:
        key, value = body["key"], str(body["value"])
        self._masker.add(value, key)
        await self._written.put(key, value)
        return DONE

    async def _delete_variable(self, body: Body) -> Reply:
        key = body["key"]
        if key in self._configured.variables:
            await self._written.put(key, None)
        else:
            await self._written.forget(key)
        return OK

    async def _variable_keys(self, body: Body) -> Reply:
        prefix = body.get("prefix") or ""
        written = await self._written.items()
        gone = {key for key, kept in written.items() if kept.value is None}
        known = (self._configured.variables.keys() | written.keys()) - gone
        known |= (await self._own_secrets()).variables.keys()
        keys = sorted(key for key in known if key.startswith(prefix))
        start = body.get("offset") or 0
        page = keys[start : start + body.get("limit", 1000)]
        return result("VariableKeysResult", keys=page, total_entries=len(keys))

    async def _mask(self, body: Body) -> Reply:
        self._masker.add(body["value"], body.get("name"))
        return DONE

    async def _own_secrets(self) -> Secrets:
        if self._own is None:
            self._own = await self._ask_own() or Secrets()
        return self._own


class ParseAnswers:
    """The answers to one process that reads a DAG file, which then may show what it was told."""

    def __init__(
        self,
        configured: Secrets,
        written: KvStoreProtocol,
        airflow_env: Mapping[str, str],
    ) -> None:
        """As ``SecretAnswers``; ``airflow_env`` has Airflow's settings about masking."""
        self._masker = Masker(airflow_env)
        answers = SecretAnswers(
            configured=configured, own=_no_own, written=written, masker=self._masker
        )
        self._handlers = answers.handlers()

    async def answer(self, kind: str, body: Body) -> Reply:
        """Answer one question; only connections and Variables can be had at that time."""
        handler = self._handlers.get(kind)
        if handler is None:
            text = f"{kind} asked while a DAG file is read: that is"
            return refusal(later_text(text))
        return await answered(handler, body)

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
