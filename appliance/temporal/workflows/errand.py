"""The workflow that carries a question of the command line to a worker."""

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from appliance.temporal import messages
    from appliance.temporal.messages import AskInput

_ONCE = RetryPolicy(maximum_attempts=1)


@workflow.defn(name=messages.ASK_WORKFLOW)
class AskApplianceWorker:
    """Asks a worker one question on behalf of the command line, which deletes this workflow afterwards."""

    @workflow.run
    async def run(self, request: AskInput) -> Any:
        """Return what the activity answers."""
        return await workflow.execute_local_activity(
            request.activity,
            request.question,
            start_to_close_timeout=timedelta(seconds=request.timeout_s),
            retry_policy=_ONCE,
        )
