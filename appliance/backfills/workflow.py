"""``AirflowBackfill``, one workflow per DAG and backfill: makes the runs of a past period.

The runs it makes wait in a lane of their own, so the DAG's ``max_active_runs`` does not count them; a few more than may
run are made at once. Cancelled, it makes no more; those that wait are ended, those that run go on, as in Airflow.
"""

import asyncio
from collections import Counter
from dataclasses import asdict
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    is_cancelled_exception,
)
from temporalio.workflow import ActivityCancellationType

with workflow.unsafe.imports_passed_through():
    from appliance.backfills.details import backfill_progress
    from appliance.backfills.input_checks import of_backfill
    from appliance.backfills.messages import (
        BACKFILL_TYPE,
        BACKFILL_WORKFLOW,
        CANCEL_QUEUED,
        PROGRESS_QUERY,
        TELL_SCHEDULER,
        BackfillPlan,
        BackfillProgress,
        BackfillRequest,
        BackfillState,
        PlannedRun,
        planned_run,
    )
    from appliance.dagrun.state_version import VERSION_KEY, refuse_newer
    from appliance.dagrun.timing import ScheduledRun
    from appliance.schedules.messages import (
        FIND_ENDED_RUNS,
        START_RUNS,
        BackfilledRuns,
        RunName,
        RunOrder,
        RunOutcome,
    )
    from appliance.temporal import compression, input_checks, messages
    from appliance.worker_questions.messages import PLAN_BACKFILL

_TIMEOUT = timedelta(seconds=120)
_START_TIMEOUT = timedelta(seconds=30)
"""How long a worker that was killed meanwhile holds runs up; what took longer goes on in the next attempt."""
_LOOK_AGAIN = timedelta(seconds=2)
_STATE_VERSION = 1
"""Of what a backfill carries on."""
_MOST_EVENTS = 1500
_MOST_STARTED = 250
_MOST_ERRORS = 10
_ERROR_CHARS = 2000
_UNKNOWN = "its history is gone, and nobody remembers how it ended"
_IN_PARTS = "start-in-parts"
"""Before, all runs there was room for were started by one activity."""
_RETRY = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=30)
)


@workflow.defn(name=BACKFILL_WORKFLOW, failure_exception_types=(TypeError, ValueError))
class AirflowBackfill:
    """One backfill."""

    @workflow.init
    def __init__(self, request: BackfillRequest, state: BackfillState) -> None:
        """Take over what was done."""
        input_checks.refuse(of_backfill(request))
        input_checks.refuse(input_checks.of_state(state, state.packed or None))
        self._request = request
        self._waiting: list[PlannedRun] = []
        self._active: list[str] = []
        self._untold: list[ScheduledRun] = []
        """Of runs that were started, and the scheduler does not know of."""
        self._done: Counter[str] = Counter()
        self._errors: list[str] = []
        self._is_planned = bool(state.packed)
        if state.packed:
            known = compression.unpacked(state.packed)
            refuse_newer(known, _STATE_VERSION, "a backfill")
            self._waiting = [planned_run(row) for row in known["waiting"]]
            self._active = known["active"]
            self._done = Counter(known["done"])
            self._errors = known.get("errors", [])

    @workflow.run
    async def run(
        self, request: BackfillRequest, _state: BackfillState
    ) -> BackfillProgress:
        """Make all its runs, and return when they have ended.

        Raises:
            ApplicationError: type ``DagRefused``: the DAG cannot be backfilled so.
        """
        try:
            if not self._is_planned:
                await self._plan()
            while self._waiting or self._active:
                await self._fill()
                self._draw()
                await self._look()
                self._continue_if_long(request)
        except (asyncio.CancelledError, ActivityError) as err:
            if not (is_cancelled_exception(err) or _is_cancelled()):
                raise
            await asyncio.shield(self._abandon())
            raise asyncio.CancelledError from err
        self._draw()
        return self.progress()

    @workflow.query(name=PROGRESS_QUERY)
    def progress(self) -> BackfillProgress:
        """Return how far it is."""
        return BackfillProgress(
            dag_id=self._request.dag_id,
            waiting=len(self._waiting),
            running=len(self._active),
            succeeded=self._done["succeeded"],
            failed=self._done["failed"],
            skipped=self._done["skipped"],
            errors=self._errors,
        )

    async def _plan(self) -> None:
        plan: BackfillPlan = await workflow.execute_local_activity(
            PLAN_BACKFILL,
            self._request,
            result_type=BackfillPlan,
            start_to_close_timeout=_TIMEOUT,
            retry_policy=_RETRY,
            summary="which runs there are to make",
        )
        if plan.refusal is not None:
            raise ApplicationError(
                plan.refusal, type=messages.RUN_REFUSED, non_retryable=True
            )
        self._waiting = [run for run in plan.runs if run.reason is None]
        self._done["skipped"] = len(plan.runs) - len(self._waiting)

    async def _fill(self) -> None:
        room = self._request.max_active_runs - len(self._active)
        while room > 0 and self._waiting:
            most = room
            # One activity is sent the orders of only so many; a history may be older than that.
            if min(room, len(self._waiting)) > _MOST_STARTED:
                most = _MOST_STARTED if workflow.patched(_IN_PARTS) else room
            batch, self._waiting = self._waiting[:most], self._waiting[most:]
            room -= len(batch)
            await self._start(batch)

    async def _start(self, batch: list[PlannedRun]) -> None:
        # Whoever cancels it now ends them, too, started or not.
        self._active += [run.slot.run_id for run in batch]
        # No local one, and not beside the tries: as the scheduler's.
        errors: list[str | None] = await workflow.execute_activity(
            START_RUNS,
            [self._order(run, is_first=run is batch[0]) for run in batch],
            task_queue=messages.trigger_queue(workflow.info().task_queue),
            result_type=list[str | None],
            start_to_close_timeout=_START_TIMEOUT,
            retry_policy=_RETRY,
            cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=f"start {len(batch)} runs",
        )
        for run, error in zip(batch, errors, strict=True):
            if error is None:
                self._untold.append(run.slot)
            else:
                self._active.remove(run.slot.run_id)
                self._fail(run.slot.run_id, error)
        if _is_cancelled():
            raise asyncio.CancelledError  # It came while they were being started.
        await self._tell_scheduler()

    def _fail(self, run_id: str, why: str) -> None:
        """Count a run as failed of which nobody else says why."""
        self._done["failed"] += 1
        why = why[:_ERROR_CHARS]
        is_new = not any(told.endswith(why) for told in self._errors)
        if is_new and len(self._errors) < _MOST_ERRORS:
            self._errors.append(f"{run_id}: {why}")

    async def _tell_scheduler(self) -> None:
        await workflow.execute_local_activity(
            TELL_SCHEDULER,
            BackfilledRuns(self._request.dag_id, self._untold),
            start_to_close_timeout=_TIMEOUT,
            retry_policy=_RETRY,
            summary="tell the scheduler",
        )
        self._untold = []

    def _order(self, run: PlannedRun, *, is_first: bool) -> RunOrder:
        request = self._request
        return RunOrder(
            request.dag_id,
            run.slot,
            run_type=BACKFILL_TYPE,
            # What they are given is sent once, not with each.
            conf=request.conf if is_first else None,
            lane=workflow.info().workflow_id,
            max_active_runs=request.max_active_runs,
            ignores_past=run.is_first,
            is_again=run.is_again,
        )

    async def _look(self) -> None:
        if not self._active:
            return
        names = [RunName(self._request.dag_id, run_id) for run_id in self._active]
        seen: list[RunOutcome] = await workflow.execute_activity(
            FIND_ENDED_RUNS,
            names,
            result_type=list[RunOutcome],
            start_to_close_timeout=_TIMEOUT,
            retry_policy=RetryPolicy(
                initial_interval=_LOOK_AGAIN, backoff_coefficient=1.0
            ),
            cancellation_type=ActivityCancellationType.TRY_CANCEL,
            summary=f"{len(names)} runs are under way",
        )
        for one in seen:
            self._active.remove(one.run.run_id)
            if one.is_success:
                self._done["succeeded"] += 1
            elif one.is_known:
                self._done["failed"] += 1
            else:
                self._fail(one.run.run_id, _UNKNOWN)

    async def _abandon(self) -> None:
        """End the runs that have not begun."""
        if self._untold:
            await self._tell_scheduler()
        names = [RunName(self._request.dag_id, run_id) for run_id in self._active]
        await workflow.execute_local_activity(
            CANCEL_QUEUED,
            names,
            start_to_close_timeout=_TIMEOUT,
            retry_policy=_RETRY,
            summary="end the runs that have not begun",
        )

    def _continue_if_long(self, request: BackfillRequest) -> None:
        info = workflow.info()
        is_long = info.get_current_history_length() > _MOST_EVENTS
        if not (is_long or info.is_continue_as_new_suggested()):
            return
        known = {
            VERSION_KEY: _STATE_VERSION,
            "waiting": [asdict(run) for run in self._waiting],
            "active": self._active,
            "done": dict(self._done),
            "errors": self._errors,
        }
        workflow.continue_as_new(
            args=[request, BackfillState(compression.packed(known))]
        )

    def _draw(self) -> None:
        workflow.set_current_details(backfill_progress(self.progress(), self._waiting))


def _is_cancelled() -> bool:
    """Whether somebody cancelled the backfill, though what it did then may have ended well."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
