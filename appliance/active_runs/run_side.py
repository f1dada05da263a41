"""What a run does about the other runs of its DAG: announces itself, waits to be admitted, reports its end.

Imported by the workflow: deterministic, no clock but ``workflow.now()``.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

from appliance.active_runs.details import QUEUED, early_text
from appliance.active_runs.messages import (
    CLOSE_RUN,
    ENTER_RUN,
    KEEP_PLACE,
    UNSIGNED_PLAN,
    RunAnnouncement,
    RunEnd,
)
from appliance.dagrun.attempt import RunFacts
from appliance.dagrun.run_record import RunRecord
from appliance.dagrun.states import RunState
from appliance.temporal import messages
from appliance.temporal.messages import DagAnswer, DagExecutionInput, PlanClaim, TaskRow

_MAX_ACTIVE_RUNS = 16
_CONF_BYTES = 512
_TIMEOUT = timedelta(seconds=30)
_REMIND = timedelta(seconds=30)
_CLOSE_TRIES = 10
_SOON = timedelta(seconds=1)
"""Clocks differ by so much."""


class Admission:
    """The turn of one run."""

    def __init__(self, request: DagExecutionInput) -> None:
        """Nothing is announced yet."""
        self._request = request
        self._is_admitted = self._has_begun = False
        self._card: RunRecord | None = None

    def admit(self) -> None:
        """It may run now."""
        self._is_admitted = True

    async def wait(
        self,
        facts: RunFacts,
        dag: DagAnswer,
        claim: PlanClaim | None,
        on_queued: Callable[[str], None],
    ) -> bool:
        """Announce the run and return when it may run; tell whether it had to wait, and meanwhile why.

        Raises:
            UnvouchedError: what is claimed of ``dag`` is not so; the run is not announced.
        """
        limit = self._request.max_active_runs
        if limit is None:
            limit = dag.plan.get("max_active_runs")
        if not isinstance(limit, int):
            limit = _MAX_ACTIVE_RUNS
        self._card = card = _card(facts, self._request)
        due = datetime.fromisoformat(card.run_after)
        is_early = due - workflow.now() > _SOON
        entry = RunAnnouncement(facts.dag_id, replace(card, is_due=not is_early), limit)
        may_run = await _enter(replace(entry, claim=claim))
        has_waited = is_early or not (may_run or self._is_admitted)
        if is_early:
            on_queued(early_text(card.run_after))
            # Nothing else happens, so this may be a year.
            rest = max(timedelta(), due - workflow.now())
            await workflow.sleep(rest, summary="until it is due")
            entry = replace(entry, card=card)
            may_run = await _enter(entry)
        if not (may_run or self._is_admitted):
            on_queued(QUEUED)
            await self._wait(entry)
        self._has_begun = True
        return has_waited

    def resume(self, facts: RunFacts) -> None:
        """Take over that an earlier workflow run has announced this run, which may run."""
        self._card = _card(facts, self._request)
        self._has_begun = True

    async def report_end(
        self, state: RunState, facts: RunFacts, rows: Sequence[TaskRow]
    ) -> None:
        """Tell how the run ended, if it was announced. That cannot fail the run."""
        if self._card is None:
            return
        card = replace(
            self._card,
            state=state,
            start_date=facts.start_date if self._has_begun else None,
            end_date=workflow.now().isoformat(),
        )
        try:
            await workflow.execute_local_activity(
                CLOSE_RUN,
                RunEnd(facts.dag_id, card, list(rows)),
                start_to_close_timeout=_TIMEOUT,
                retry_policy=RetryPolicy(maximum_attempts=_CLOSE_TRIES),
                summary="tell the DAG how the run ended",
            )
        except (ActivityError, ApplicationError) as err:
            workflow.logger.error("how the run ended is not remembered: %s", err)

    async def _wait(self, entry: RunAnnouncement) -> None:
        """Wait for the signal; meanwhile an activity that leaves no events reminds the DAG of the run."""
        reminder = workflow.start_activity(
            KEEP_PLACE,
            entry,
            start_to_close_timeout=_TIMEOUT,
            retry_policy=RetryPolicy(initial_interval=_REMIND, backoff_coefficient=1.0),
            summary=f"queued: at most {entry.limit} runs of the DAG at once",
        )
        try:
            await workflow.wait_condition(lambda: self._is_admitted or reminder.done())
        finally:
            reminder.cancel()


async def _enter(entry: RunAnnouncement) -> bool:
    try:
        may_run: bool = await workflow.execute_local_activity(
            ENTER_RUN,
            entry,
            result_type=bool,
            start_to_close_timeout=_TIMEOUT,
            summary="announce the run to its DAG",
        )
    except (ActivityError, ApplicationError) as err:
        cause = err.cause if isinstance(err, ActivityError) else err
        if isinstance(cause, ApplicationError) and cause.type == UNSIGNED_PLAN:
            raise UnsignedPlanError from err
        raise
    return may_run


def _card(facts: RunFacts, request: DagExecutionInput) -> RunRecord:
    conf = request.conf or None
    is_small = len(json.dumps(conf)) <= _CONF_BYTES
    return RunRecord(
        run_id=facts.run_id,
        workflow_id=facts.workflow_id,
        run_type=facts.run_type,
        run_after=messages.utc(facts.run_after),
        logical_date=_utc(facts.logical_date),
        data_interval_start=_utc(facts.data_interval_start),
        data_interval_end=_utc(facts.data_interval_end),
        start_date=facts.start_date,
        triggering_user=facts.triggering_user,
        conf=conf if is_small else None,
        lane=request.lane,
        execution=workflow.info().first_execution_run_id,
    )


def _utc(time: str | None) -> str | None:
    return None if time is None else messages.utc(time)


class UnsignedPlanError(Exception):
    """No worker of this box has read what the run was started with."""
