"""How a workflow that stands for something lasting takes over what the last one of its id knew, which somebody ended.

Imported by the workflows: deterministic. What cannot be read is waited for: none of them ever begins with nothing by mistake.
"""

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from appliance.temporal import compression, messages

_TIMEOUT = timedelta(seconds=60)
_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30)
)
_LOOK_AGAIN = RetryPolicy(
    initial_interval=timedelta(seconds=60), backoff_coefficient=1.0
)


async def taken_over() -> Any:
    """Return what the last workflow of this id knew, ``{}`` when there was none; wait as long as that cannot be read."""
    name = workflow.info().workflow_id
    try:
        found: str = await workflow.execute_local_activity(
            messages.REBUILD,
            name,
            result_type=str,
            start_to_close_timeout=_TIMEOUT,
            retry_policy=_RETRY,
            summary="what the last one knew",
        )
    except FailureError as err:  # of a local activity, itself
        if is_cancelled_exception(err):
            raise
        # A local activity would leave events at each look, and this may take until somebody has mended it.
        found = await workflow.execute_activity(
            messages.REBUILD,
            name,
            result_type=str,
            start_to_close_timeout=_TIMEOUT,
            retry_policy=_LOOK_AGAIN,
            summary="what the last one knew cannot be read: see `appliance health`",
        )
    return compression.unpacked(found)
