"""``AskApplianceWorker``: carries a question of a command to a worker."""

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from appliance.dagrun.ids import shown
    from appliance.temporal import input_checks
    from appliance.worker_questions.messages import (
        ASK_TIMETABLES,
        ASK_WORKFLOW,
        LIST_DAGS,
        PLAN_BACKFILL,
        READ_DAG,
        RESOLVE_XCOMS,
        AskInput,
    )

_ASKED = frozenset(
    (
        READ_DAG,
        LIST_DAGS,
        RESOLVE_XCOMS,
        ASK_TIMETABLES,
        PLAN_BACKFILL,
    )
)
"""What the command line asks."""
_MOST_S = 600.0
_ONCE = RetryPolicy(maximum_attempts=1)


@workflow.defn(name=ASK_WORKFLOW, failure_exception_types=(TypeError, ValueError))
class AskApplianceWorker:
    """Asks a worker one question on behalf of the command line, which deletes this workflow afterwards."""

    @workflow.run
    async def run(self, request: AskInput) -> Any:
        """Return what the activity answers.

        Raises:
            ApplicationError: type ``InputRefused``: nobody asks that so.
        """
        input_checks.refuse(_objection(request))
        return await workflow.execute_local_activity(
            request.activity,
            request.question,
            start_to_close_timeout=timedelta(seconds=request.timeout_s),
            retry_policy=_ONCE,
        )


def _objection(request: AskInput) -> str | None:
    if request.activity not in _ASKED:
        return f"{shown(request.activity)!r} is nothing a worker is asked"
    if not 0 < request.timeout_s <= _MOST_S:
        return f"timeout_s: {request.timeout_s} is no time to wait"
    return input_checks.of_json(request.question)
