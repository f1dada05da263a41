"""Constructors for replies on the Task SDK wire: results, errors, refusals.

Airflow has two ways to say no, and they are not interchangeable. "There is no such thing" is an
``ErrorResponse`` in the *body*: the SDK looks at it and goes on. Whatever the server could not do is an
``ErrorResponse`` in the *error* slot: the SDK raises ``AirflowRuntimeError`` in the task.
An empty frame means "done, nothing to say".

Source: Airflow 3.3: ``sdk/execution_time/supervisor.py`` (handle_requests), ``sdk/api/client.py``.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from appliance.errors import ApplianceError
from appliance.forkserver.frames import Reply

Body = dict[str, Any]
Handler = Callable[[Body], Awaitable[Reply]]

DONE = Reply()
OK = Reply(body={"type": "OKResponse", "ok": True})


def result(kind: str, **fields: Any) -> Reply:
    """Answer with the message ``kind``."""
    return Reply(body={"type": kind, **fields})


def not_found(error: str, **detail: Any) -> Reply:
    """Say that what was asked for does not exist, in the way the SDK expects and handles."""
    return Reply(body={"type": "ErrorResponse", "error": error, "detail": detail})


def rejected(message: str, *, status: int = 400, reason: str | None = None) -> Reply:
    """Raise in the task what Airflow's server would have answered with this HTTP status."""
    detail: Body = {"status_code": status, "message": message}
    if reason is not None:
        detail["reason"] = reason
    return Reply(error={"error": "API_SERVER_ERROR", "detail": detail})


async def answered(handler: Handler, body: Body) -> Reply:
    """Answer, or raise in the task what speaks against it."""
    try:
        return await handler(body)
    except ApplianceError as err:
        return refusal(str(err))


def refusal(text: str) -> Reply:
    """Raise ``text`` in the task: Airflow would do this, the appliance does not."""
    return Reply(error={"error": "GENERIC_ERROR", "detail": {"message": text}})


def later_text(feature: str) -> str:
    """Return the sentence about a feature that is not built yet; ``feature`` ends in "is" or "are".

    Plain words and no quotes: it comes back to us inside the ``repr`` of an exception.
    """
    return f"{feature} not supported yet by this appliance"


def later(feature: str) -> Handler:
    """Return a handler that refuses because the appliance does not have this ``feature`` yet."""

    async def refuse(_body: Body) -> Reply:
        return refusal(later_text(feature))

    return refuse
