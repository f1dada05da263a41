"""What a try said about how it ends. Only recorded here; which of it counts is ``attempt``'s decision.

The message that names the final state is not the last one: callbacks, listeners and extra links run after it.

Source: Airflow 3.3: ``sdk/execution_time/supervisor.py``, ``api_fastapi/execution_api/routes/task_instances.py``.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from appliance.dagrun.states import TaskState
from appliance.taskrun.shapes import (
    DONE,
    Body,
    Handler,
    later_text,
    refusal,
    rejected,
)
from appliance.warm.frames import Reply

DEFERRAL = "deferrable operators are"
HUMAN_INPUT = "human-in-the-loop operators are"


@dataclass(slots=True)
class Ending:
    """How a try says it ends; ``state`` is None as long as it has not said."""

    state: TaskState | None = None
    end_date: str | None = None
    retry_delay_s: float | None = None
    retry_reason: str | None = None
    reschedule_at: str | None = None
    skipped: list[tuple[str, int]] = field(default_factory=list)
    rendered_map_index: str | None = None
    rendered_fields: dict[str, Any] = field(default_factory=dict)
    refused: str | None = None
    """Set when it wanted to end in a way this appliance does not have; ``state`` is then FAILED for good."""


class Endings:
    """The answers to everything that tells how the try goes."""

    def __init__(self) -> None:
        self.ending = Ending()

    def handlers(self) -> dict[str, Handler]:
        """Return message type → handler."""
        return {
            "SucceedTask": self._succeed,
            "TaskState": self._state,
            "RetryTask": self._retry,
            "RescheduleTask": self._reschedule,
            "DeferTask": self._defer,
            "AwaitInputTask": self._await_input,
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
        return self._cannot_park(DEFERRAL, body)

    async def _await_input(self, body: Body) -> Reply:
        return self._cannot_park(HUMAN_INPUT, body)

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

    def _cannot_park(self, feature: str, body: Body) -> Reply:
        """Refuse, and fail the try: the SDK only logs the refusal and exits with 0, which would mean success."""
        self.ending.refused = later_text(feature)
        self._ends(TaskState.FAILED, body)
        return refusal(self.ending.refused)


def _iso(moment: object) -> str | None:
    return moment.isoformat() if isinstance(moment, datetime) else None
