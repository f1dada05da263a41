"""Builds the records that others need of a run: ``DagQuestion``, ``RunFacts``, ``DagExecutionResult``. Pure."""

import json
from collections.abc import Sequence

from appliance.dagrun.attempt import RunFacts
from appliance.dagrun.states import RunState, TaskState
from appliance.runs.messages import DagExecutionResult, DagQuestion
from appliance.runs.run_data import shorten
from appliance.temporal.messages import DagAnswer, DagExecutionInput, TaskRow

_INLINE_CONF_BYTES = 1024
_MAX_ROWS = 100


def questioned(request: DagExecutionInput, logical_date: str | None) -> DagQuestion:
    """Ask for the DAG of a run."""
    return DagQuestion(
        request.dag_id,
        request.dag_file,
        request.conf,
        request.run_id,
        logical_date,
        request.run_type,
        request.run_after,
    )


def described(
    request: DagExecutionInput,
    dag: DagAnswer,
    *,
    logical_date: str | None,
    started: str,
    workflow_id: str,
) -> RunFacts:
    """Describe a run that began at ``started``."""
    is_small = len(json.dumps(request.conf)) <= _INLINE_CONF_BYTES
    return RunFacts(
        dag_id=request.dag_id,
        run_id=request.run_id or f"{request.run_type}__{logical_date or started}",
        run_type=request.run_type,
        logical_date=logical_date,
        data_interval_start=request.data_interval_start or dag.data_interval_start,
        data_interval_end=request.data_interval_end or dag.data_interval_end,
        partition_key=request.partition_key,
        run_after=request.run_after or started,
        start_date=started,
        file=dag.file,
        conf=request.conf if is_small else None,
        is_sealed=request.sealed is not None,
        triggering_user=request.triggering_user,
        workflow_id=workflow_id,
    )


def concluded(
    facts: RunFacts, state: RunState, rows: Sequence[TaskRow], *, ended: str
) -> DagExecutionResult:
    """Sum up a run that has ended."""
    states = [row.state for row in rows]
    return DagExecutionResult(
        state=state.value,
        dag_id=facts.dag_id,
        run_id=facts.run_id,
        start_date=facts.start_date,
        end_date=ended,
        tasks_succeeded=states.count(TaskState.SUCCESS),
        tasks_failed=states.count(TaskState.FAILED),
        tasks=shorten(rows, _MAX_ROWS),
        tasks_total=len(rows),
    )
