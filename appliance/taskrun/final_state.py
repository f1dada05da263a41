"""Recorder of what a task reports about its own end: final state, retry, deferral, reschedule.

Which of it counts is decided in ``attempt``.

The message that names the final state is not the last one: callbacks, listeners and extra links run after it.

Source: Airflow 3.3: ``sdk/execution_time/supervisor.py``, ``api_fastapi/execution_api/routes/task_instances.py``.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from appliance.dagrun.deferral import Deferral
from appliance.dagrun.states import TaskState
from appliance.forkserver.frames import Reply
from appliance.taskrun.responses import DONE, Body, Handler, rejected, result

_TIME_TRIGGER = "airflow.providers.standard.triggers.temporal.DateTimeTrigger"
"""Waits for a moment and nothing else; every other trigger of that kind is serialized as this one."""

QUESTION = (
    "options",
    "subject",
    "body",
    "defaults",
    "multiple",
    "params",
    "assigned_users",
)
"""What an operator tells of what it asks a person."""


@dataclass(slots=True)
class FinalState:
    """How a try says it ends; ``state`` is None as long as it has not said."""

    state: TaskState | None = None
    end_date: str | None = None
    retry_delay_s: float | None = None
    retry_reason: str | None = None
    reschedule_at: str | None = None
    skipped: list[tuple[str, int]] = field(default_factory=list)
    rendered_map_index: str | None = None
    rendered_fields: dict[str, Any] = field(default_factory=dict)
    question: dict[str, Any] | None = None
    deferral: Deferral | None = None


class FinalStateReplies:
    """The answers to everything that tells how the try goes."""

    def __init__(self) -> None:
        self.ending = FinalState()

    def handlers(self) -> dict[str, Handler]:
        """Return message type → handler."""
        return {
            "SucceedTask": self._succeed,
            "TaskState": self._state,
            "RetryTask": self._retry,
            "RescheduleTask": self._reschedule,
            "DeferTask": self._defer,
            "AwaitInputTask": self._await_input,
            "CreateHITLDetailPayload": self._ask,
            "SkipDownstreamTasks": self._skip,
            "SetRenderedFields": self._fields,
            "SetRenderedMapIndex": self._label,
        }

    async def _succeed(self, body: Body) -> Reply:
        # Events of outlets are dropped: nothing here can wait for them yet.
        return self._ends(TaskState.SUCCESS, body)

    async def _state(self, body: Body) -> Reply:
        return self._ends(TaskState(body["state"]), body)

    async def _retry(self, body: Body) -> Reply:
        self.ending.retry_delay_s = body.get("retry_delay_seconds")
        self.ending.retry_reason = body.get("retry_reason")
        return self._ends(TaskState.UP_FOR_RETRY, body)

    async def _reschedule(self, body: Body) -> Reply:
        self.ending.reschedule_at = _iso(body["reschedule_date"])
        return self._ends(TaskState.UP_FOR_RESCHEDULE, body)

    async def _defer(self, body: Body) -> Reply:
        self.ending.deferral = _deferral(body)
        return self._ends(TaskState.DEFERRED, body)

    async def _ask(self, body: Body) -> Reply:
        self.ending.question = {key: body.get(key) for key in QUESTION}
        return result("HITLDetailRequestResult", **body)

    async def _await_input(self, body: Body) -> Reply:
        next_kwargs = body.get("next_kwargs")
        self.ending.deferral = Deferral(
            body["next_method"],
            sealed={"next_kwargs": next_kwargs} if next_kwargs else None,
            timeout_s=_seconds(body.get("timeout")),
            question=self.ending.question or {},
        )
        return self._ends(TaskState.AWAITING_INPUT, body)

    async def _skip(self, body: Body) -> Reply:
        for task in body["tasks"]:
            if isinstance(task, str):
                self.ending.skipped.append((task, -1))
            else:
                task_id, map_index = task
                self.ending.skipped.append((task_id, map_index))
        return DONE

    async def _fields(self, body: Body) -> Reply:
        self.ending.rendered_fields = body["rendered_fields"]
        return DONE

    async def _label(self, body: Body) -> Reply:
        if not body["rendered_map_index"]:
            return rejected("rendered_map_index cannot be empty", status=422)
        self.ending.rendered_map_index = body["rendered_map_index"]
        return DONE

    def _ends(self, state: TaskState, body: Body) -> Reply:
        self.ending.state = state
        self.ending.end_date = _iso(body.get("end_date"))
        if body.get("rendered_map_index") is not None:
            self.ending.rendered_map_index = body["rendered_map_index"]
        return DONE


def _deferral(body: Body) -> Deferral:
    next_kwargs, kwargs = body.get("next_kwargs") or {}, body["trigger_kwargs"]
    timeout_s = _seconds(body.get("trigger_timeout"))
    moment = _moment(body["classpath"], kwargs)
    if moment is not None:
        return Deferral(
            body["next_method"],
            sealed={"next_kwargs": next_kwargs} if next_kwargs else None,
            timeout_s=timeout_s,
            moment=moment,
            event=kwargs["moment"],
            ends_task=bool(kwargs.get("end_from_trigger")),
        )
    return Deferral(
        body["next_method"],
        sealed={"next_kwargs": next_kwargs, "trigger_kwargs": kwargs},
        classpath=body["classpath"],
        timeout_s=timeout_s,
    )


def _moment(classpath: str, kwargs: Any) -> float | None:
    """Return when a trigger fires that waits for a moment, which serde has written; None for any other trigger."""
    match kwargs:
        case {"moment": {"__data__": {"timestamp": float(moment)}}}:
            return moment if classpath == _TIME_TRIGGER else None
        case _:
            return None


def _seconds(duration: object) -> float | None:
    """Return a duration's seconds; the wire has it as ISO 8601 text."""
    if duration is None:
        return None
    return msgspec.convert(duration, timedelta).total_seconds()


def _iso(moment: object) -> str | None:
    return moment.isoformat() if isinstance(moment, datetime) else None
