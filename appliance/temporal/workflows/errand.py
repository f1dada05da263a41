"""The workflow that carries a question of the command line to a worker."""

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from appliance.dagrun.names import shown
    from appliance.temporal import messages, orders
    from appliance.temporal.messages import AskInput
    from appliance.temporal.workflows import inputs

_ASKED = frozenset(
    (
        messages.READ_DAG,
        messages.LIST_DAGS,
        messages.RESOLVE_XCOMS,
        orders.ASK_TIMETABLES,
        orders.PLAN_BACKFILL,
    )
)
"""What the command line asks."""
_MOST_S = 600.0
_ONCE = RetryPolicy(maximum_attempts=1)


@workflow.defn(
    name=messages.ASK_WORKFLOW, failure_exception_types=(TypeError, ValueError)
)
class AskApplianceWorker:
    """Asks a worker one question on behalf of the command line, which deletes this workflow afterwards."""

    @workflow.run
    async def run(self, request: AskInput) -> Any:
        """Return what the activity answers.

        Raises:
            ApplicationError: type ``InputRefused``: nobody asks that so.
        """
        inputs.refuse(_objection(request))
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
    return inputs.of_json(request.question)
