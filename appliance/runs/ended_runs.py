"""Reads how runs ended from their last event: one request per run, without a worker or a replay."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

from temporalio.client import (
    WorkflowExecutionStatus,
    WorkflowFailureError,
    WorkflowHandle,
)
from temporalio.exceptions import ApplicationError

from appliance.dagrun.states import FINISHED, UNDER_WAY, TaskState
from appliance.runs.final_record import FinalRecord
from appliance.runs.messages import RESULT_MEMO, DagExecutionResult
from appliance.temporal.messages import TaskRow


async def end(handle: WorkflowHandle[Any, Any]) -> None:
    """Wait for the end of a run."""
    with suppress(WorkflowFailureError):
        await handle.result()


async def outcome(
    handle: WorkflowHandle[Any, Any],
    status: WorkflowExecutionStatus | None,
) -> DagExecutionResult | None:
    """Return what the workflow said at its end; None while it runs or when it said nothing."""
    if status == WorkflowExecutionStatus.RUNNING:
        return None
    try:
        body = await handle.result()
    except WorkflowFailureError as err:
        if isinstance(err.cause, ApplicationError) and err.cause.details:
            body = err.cause.details[0]
        else:
            described = await handle.describe()
            body = await described.memo_value(RESULT_MEMO, None)
        if body is None:
            return None
    rows = tuple(TaskRow(**row) for row in body["tasks"])
    return DagExecutionResult(**{**body, "tasks": rows})


def finale(result: DagExecutionResult | None) -> FinalRecord | None:
    """Return where a run stood at its end; None when it did not say, as by an earlier version."""
    if result is None or not result.finale:
        return None
    return FinalRecord.of(result.finale)


def tasks(result: DagExecutionResult | None) -> list[TaskRow]:
    """Return the task instances a run told of at its end."""
    if (known := finale(result)) is not None:
        return list(known.tasks)
    return list(result.tasks) if result else []


def as_ended(row: TaskRow) -> TaskRow:
    """Say what became of an instance whose run was terminated, and so could not say it."""
    if row.state in FINISHED:
        return row
    is_under_way = row.state in UNDER_WAY
    state = TaskState.FAILED if is_under_way else TaskState.SKIPPED
    return replace(row, state=state.value)
