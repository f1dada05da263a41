"""Activities of a backfill: plan its runs, cancel queued ones, report them to the scheduler.

Source: Airflow 3.3: ``models/backfill.py`` (``_validate_backfill_params``, ``_get_info_list``,
``_get_dag_run_no_create_reason``).
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

from temporalio import activity
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from appliance.active_runs.client import ActiveRunsClient
from appliance.backfills.input_checks import of_backfill
from appliance.backfills.messages import (
    BACKFILL_TYPE,
    CANCEL_QUEUED,
    TELL_SCHEDULER,
    BackfillPlan,
    BackfillRequest,
    PlannedRun,
)
from appliance.dagfile.models import CheckedDag, Listing
from appliance.dagrun.run_record import RunQuery, RunRecord
from appliance.dagrun.states import RunState
from appliance.dagrun.timing import ScheduledRun
from appliance.errors import DagError
from appliance.schedules.client import SchedulesClient
from appliance.schedules.messages import (
    BackfilledRuns,
    RunName,
    TimetableAnswer,
    TimetableQuestion,
)
from appliance.temporal.connection import workflow_id
from appliance.temporal.messages import utc
from appliance.worker_questions.messages import PLAN_BACKFILL

MOST_RUNS = 5000
"""Runs of one backfill."""
_ENDED = (RunState.SUCCESS, RunState.FAILED)
Ask = Callable[[list[TimetableQuestion]], Awaitable[list[TimetableAnswer]]]


class DagReader(Protocol):
    """Reads DAGs."""

    async def check(self, **question: Any) -> CheckedDag:
        """Check that a DAG can be run. Raises: DagError."""

    async def listing(self) -> Listing:
        """Return every DAG of the folder."""


class BackfillActivities:
    """These activities."""

    def __init__(
        self,
        client: Client,
        dags: DagReader,
        registry: ActiveRunsClient,
        schedules: SchedulesClient,
        ask: Ask,
    ) -> None:
        """``ask`` has timetables answer; ``registry`` knows the runs there have been."""
        self._client = client
        self._schedules = schedules
        self._dags = dags
        self._registry = registry
        self._ask = ask

    @property
    def activities(self) -> Sequence[Callable[..., Any]]:
        """All of them, as a worker takes them."""
        return (self.plan_backfill, self.tell_scheduler, self.cancel_queued_runs)

    @activity.defn(name=PLAN_BACKFILL)
    async def plan_backfill(self, request: BackfillRequest) -> BackfillPlan:
        """Say which runs a backfill makes, and which it does not because there has been one."""
        if why := of_backfill(request):
            return BackfillPlan(refusal=f"refused: {why}")
        try:
            return BackfillPlan(await self._runs(request))
        except DagError as err:
            return BackfillPlan(refusal=str(err))

    @activity.defn(name=TELL_SCHEDULER)
    async def tell_scheduler(self, made: BackfilledRuns) -> None:
        """Tell the scheduler that runs were made, so that it does not make them again."""
        await self._schedules.report_backfilled(made)

    @activity.defn(name=CANCEL_QUEUED)
    async def cancel_queued_runs(self, runs: list[RunName]) -> None:
        """Cancel those that wait for their turn, or have not even announced themselves."""
        for dag_id in {run.dag_id for run in runs}:
            ids = {run.run_id for run in runs if run.dag_id == dag_id}
            question = RunQuery(run_ids=tuple(ids), states=(RunState.RUNNING,))
            found = await self._registry.find(dag_id, question)
            ids.difference_update(run.card.run_id for run in found)
            names = [workflow_id(dag_id, run_id) for run_id in ids]
            await asyncio.gather(*map(self._cancel, names))

    async def _cancel(self, name: str) -> None:
        try:
            await self._client.get_workflow_handle(name).cancel()
        except RPCError as err:
            if err.status != RPCStatusCode.NOT_FOUND:  # It has ended.
                raise

    async def _runs(self, request: BackfillRequest) -> list[PlannedRun]:
        checked = await self._dags.check(
            dag_id=request.dag_id, conf=request.conf, run_type=BACKFILL_TYPE
        )
        _check(request, checked.plan)
        slots = await self._slots(request)
        cards = await self._known(request.dag_id, slots)
        planned = [_planned(slot, cards.get(_key(slot)), request) for slot in slots]
        if request.is_backwards:
            planned.reverse()
        return [replace(run, is_first=not i) for i, run in enumerate(planned)]

    async def _slots(self, request: BackfillRequest) -> list[ScheduledRun]:
        listing = await self._dags.listing()
        timing = next(
            (dag.timing for dag in listing.dags if dag.dag_id == request.dag_id), None
        )
        if timing is None or not timing["is_periodic"]:
            raise DagError(
                f"{request.dag_id} has a non-periodic schedule that does not support "
                "backfills"
            )
        question = TimetableQuestion(
            ask="between",
            timetable=timing["timetable"],
            now=_now().isoformat(),
            earliest=request.from_date,
            latest=request.to_date,
            catchup=True,
            limit=MOST_RUNS + 1,
            run_type=BACKFILL_TYPE,
        )
        (answer,) = await self._ask([question])
        if answer.error is not None:
            raise DagError(f"{request.dag_id}: its timetable fails: {answer.error}")
        if len(answer.slots) > MOST_RUNS:
            raise DagError(
                f"{request.dag_id}: more than {MOST_RUNS} runs lie between "
                f"{request.from_date} and {request.to_date}; ask for a shorter period"
            )
        return answer.slots

    async def _known(
        self, dag_id: str, slots: list[ScheduledRun]
    ) -> dict[str, RunRecord]:
        """Return the runs there have been, by logical date or else by run id; the latest of each."""
        dates = tuple(slot.start for slot in slots if slot.start)
        ids = tuple(slot.run_id for slot in slots if not slot.start)
        questions = [
            RunQuery(logical_dates=dates) if dates else None,
            RunQuery(run_ids=ids) if ids else None,
        ]
        found: dict[str, RunRecord] = {}
        for question in questions:
            if question is not None:
                for run in await self._registry.find(dag_id, question):
                    found[run.card.logical_date or run.card.run_id] = run.card
        return found


def _check(request: BackfillRequest, plan: dict[str, Any]) -> None:
    """Refuse what Airflow refuses.

    Raises:
        DagError: it does.
    """
    start = datetime.fromisoformat(utc(request.from_date))
    end = datetime.fromisoformat(utc(request.to_date))
    if start > end:
        raise DagError(f"--from {request.from_date} is after --to {request.to_date}")
    if start >= _now():
        raise DagError("Backfill cannot be executed for future dates.")
    if any(task.get("past") for task in plan["tasks"].values()):
        if request.is_backwards:
            raise DagError(
                "Backfill cannot be run in reverse when the Dag has tasks where "
                "depends_on_past=True."
            )
        if request.reprocess == "none":
            raise DagError(
                "Dag has tasks for which depends_on_past=True. You must set "
                "--reprocess to completed or failed."
            )


def _planned(
    slot: ScheduledRun, card: RunRecord | None, request: BackfillRequest
) -> PlannedRun:
    if card is None:
        return PlannedRun(slot)
    if card.state not in _ENDED:
        return PlannedRun(slot, "in flight")
    is_wanted = request.reprocess == "completed" or (
        request.reprocess == "failed" and card.state is RunState.FAILED
    )
    if not is_wanted:
        return PlannedRun(slot, "already exists")
    return PlannedRun(replace(slot, run_id=card.run_id), is_again=True)


def _key(slot: ScheduledRun) -> str:
    return slot.start or slot.run_id


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251  # the edge that takes the time
