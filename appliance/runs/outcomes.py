"""Turns the end of a try's activity into an event of the state machine; an unknown end is a failure."""

from dataclasses import asdict, dataclass, fields
from datetime import datetime
from enum import Enum, auto
from typing import Any

from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    TimeoutError,
    TimeoutType,
)

from appliance.dagrun.attempt import (
    ActivityTaskInput,
    RunFacts,
    TaskExecutionResult,
    XComRow,
)
from appliance.dagrun.deferral import Deferral
from appliance.dagrun.events import TryEnded
from appliance.dagrun.states import TaskState
from appliance.runs import messages as run_messages
from appliance.temporal import messages

_SKIPMIXIN_KEY = "skipmixin_key"
_RETURN_KEY = "return_value"
_INPUT_FIELDS = tuple(field.name for field in fields(ActivityTaskInput))
_RARE_FIELDS = ("callback", "resume", "trigger", "poke_at", "is_exempt")
_FACTS_FIELDS = tuple(field.name for field in fields(RunFacts))


class Gone(Enum):
    """A try that ended without a word."""

    LOST = auto()
    NOT_BEGUN = auto()
    """It waited for a worker, or there for a slot."""
    SENT_BACK = auto()
    """The same, and it is to ask for a slot of its pool before it begins."""


@dataclass(frozen=True, slots=True)
class HeartbeatTimeout:
    """The try's lease ran out, but the worker that owned it may still run it."""

    queue: str | None
    """Its own; None when it had no time to tell, and whoever polls the shared one is asked."""


def given(task: ActivityTaskInput) -> dict[str, Any]:
    """Return a try's input as the JSON converter takes it without looking at each field.

    Converting dataclasses by their annotations took a third of the time of a workflow task.
    """
    body = {name: getattr(task, name) for name in _INPUT_FIELDS}
    body["run"] = {name: getattr(task.run, name) for name in _FACTS_FIELDS}
    body["xcoms"] = [_row(row) for row in task.xcoms]
    for name in _RARE_FIELDS:
        if (value := body.pop(name)) is not None:
            is_plain = isinstance(value, str | bool)
            body[name] = value if is_plain else asdict(value)
    return body


def result_of(body: dict[str, Any]) -> TaskExecutionResult:
    """Rebuild a result from plain JSON: what an activity returned, or the details of its failure."""
    return TaskExecutionResult(
        **{
            **body,
            "state": TaskState(body["state"]),
            "xcoms": tuple(XComRow(**row) for row in body["xcoms"]),
            "deleted": tuple(XComRow(**row) for row in body["deleted"]),
            "skipped": tuple((task, index) for task, index in body["skipped"]),
            "deferral": Deferral(**held) if (held := body.get("deferral")) else None,
        }
    )


def classify(
    err: ActivityError,
) -> TaskExecutionResult | HeartbeatTimeout | Gone | None:
    """Say what the failure of a try's activity means; None: it failed in a way nobody foresaw."""
    match err.cause:
        case ApplicationError(type=messages.TRY_FAILED, details=details):
            return result_of(details[0])
        case ApplicationError(type=messages.TRY_LOST | messages.TRY_STOPPED):
            return Gone.LOST
        case ApplicationError(type=run_messages.TRY_NOT_BEGUN) | CancelledError():
            return Gone.NOT_BEGUN  # A cancelled one that had begun is told as stopped.
        case TimeoutError(type=TimeoutType.HEARTBEAT, last_heartbeat_details=details):
            return HeartbeatTimeout(str(details[0]) if details else None)
        case TimeoutError():
            return Gone.LOST
        case _:
            return None


def failed(task: ActivityTaskInput, now: str, error: str) -> TaskExecutionResult:
    """Return the result of a try that ended in a way nobody foresaw: failed, retried as Airflow would."""
    retries = task.max_tries != 0 and task.try_number <= task.max_tries
    state = TaskState.UP_FOR_RETRY if retries else TaskState.FAILED
    return TaskExecutionResult(state, now, now, error=error)


def is_plain_poke(result: TaskExecutionResult) -> bool:
    """Tell whether a try did nothing but ask to be run again later."""
    did_more = result.xcoms or result.deleted or result.skipped
    return result.state is TaskState.UP_FOR_RESCHEDULE and not did_more


def ended(
    task: ActivityTaskInput, result: TaskExecutionResult, *, is_watched: bool = False
) -> TryEnded:
    """Return what the machine hears of a try that ended."""
    own = {
        row.key: row.value
        for row in result.xcoms
        if (row.task_id, row.map_index) == (task.task_id, task.map_index)
    }
    at = result.reschedule_at
    return TryEnded(
        task.task_id,
        task.map_index,
        task.try_number,
        result.state,
        return_length=result.return_length,
        returned=own.get(_RETURN_KEY) is not None,
        retry_delay_s=result.retry_delay_s,
        reschedule_at=datetime.fromisoformat(at).timestamp() if at else None,
        is_watched=is_watched,
        skipped=result.skipped,
        skip_verdict=_verdict(own.get(_SKIPMIXIN_KEY)),
    )


def _row(row: XComRow) -> dict[str, Any]:
    return {
        "task_id": row.task_id,
        "map_index": row.map_index,
        "key": row.key,
        "value": row.value,
    }


def _verdict(value: Any) -> tuple[str, tuple[str, ...]] | None:
    if not isinstance(value, dict):
        return None
    for kind in ("followed", "skipped"):
        if kind in value:
            return kind, tuple(value[kind])
    return None
