"""Workflow that a Temporal Schedule starts when a person triggers it on the Schedules page of the Temporal UI."""

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey

with workflow.unsafe.imports_passed_through():
    from appliance.schedules.messages import (
        ACT,
        ACTION_WORKFLOW,
        Occasion,
        ScheduleAction,
    )
    from appliance.temporal import input_checks

_TIME = SearchAttributeKey.for_datetime("TemporalScheduledStartTime")
_TIMEOUT = timedelta(seconds=120)
_RETRY = RetryPolicy(maximum_interval=timedelta(seconds=30))


@workflow.defn(name=ACTION_WORKFLOW, failure_exception_types=(TypeError, ValueError))
class AirflowScheduleAction:
    """Has the scheduler make a run. The page of a Temporal Schedule lists it under its recent runs."""

    @workflow.run
    async def run(self, schedule: ScheduleAction) -> str:
        """Return what was done."""
        input_checks.refuse(input_checks.of_anything(schedule))
        info = workflow.info()
        at = info.typed_search_attributes.get(_TIME) or info.start_time
        occasion = Occasion(schedule, at.isoformat(), info.start_time.isoformat())
        outcome: str = await workflow.execute_local_activity(
            ACT,
            occasion,
            result_type=str,
            start_to_close_timeout=_TIMEOUT,
            retry_policy=_RETRY,
        )
        return outcome
