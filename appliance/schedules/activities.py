"""Activities of the scheduler and of backfills: ask timetables, start runs, find runs that ended."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from appliance.active_runs.client import ActiveRunsClient
from appliance.config.free_disk import shortage
from appliance.config.model import Config
from appliance.dagrun.run_record import RunQuery
from appliance.dagrun.states import RunState
from appliance.dagrun.timing import ScheduledRun
from appliance.errors import DagError
from appliance.schedules.messages import (
    FIND_ENDED_RUNS,
    START_RUNS,
    RunName,
    RunOrder,
    RunOutcome,
    TimetableAnswer,
    TimetableQuestion,
    as_json,
)
from appliance.temporal import messages, search_attributes
from appliance.temporal.connection import workflow_id
from appliance.temporal.limits import check_size, check_workflow_id, shortened
from appliance.temporal.messages import DagExecutionInput
from appliance.temporal.waiting import not_yet
from appliance.worker_questions.messages import ASK_TIMETABLES

_ENDED = (RunState.SUCCESS, RunState.FAILED)
_LOOKED_AT = 500
_ASKING_S = 60.0
"""After so long no further timetable is asked; the activity has two minutes."""
AskTimetables = Callable[[Sequence[dict[str, Any]]], Awaitable[list[dict[str, Any]]]]


class ScheduleActivities:
    """Activities of one worker."""

    def __init__(
        self,
        client: Client,
        config: Config,
        ask: AskTimetables,
        *,
        has_search_attributes: bool,
    ) -> None:
        """``ask`` asks Airflow's timetables, in a child process."""
        self._client = client
        self._active_runs = ActiveRunsClient(client, config.temporal.task_queue)
        self._config = config
        self._queue = config.temporal.task_queue
        self._ask = ask
        self._has_search_attributes = has_search_attributes

    @property
    def activities(self) -> Sequence[Callable[..., Any]]:
        """All of them, as a worker takes them."""
        return (self.ask_timetables, self.start_runs, self.find_ended_runs)

    @activity.defn(name=ASK_TIMETABLES)
    async def ask_timetables(
        self, questions: list[TimetableQuestion]
    ) -> list[TimetableAnswer]:
        """Return what timetables answer.

        One that ends its process, or does not answer in time, spoils no other's answer.
        """
        rows = [as_json(question) for question in questions]
        began = time.monotonic()
        try:
            answers = await self._ask(rows)
        except DagError:
            answers = [await self._ask_alone(row, began) for row in rows]
        return [
            TimetableAnswer(
                [ScheduledRun(**run) for run in answer.get("slots", ())],
                answer.get("error"),
                answer.get("is_asked", True),
            )
            for answer in answers
        ]

    @activity.defn(name=START_RUNS)
    async def start_runs(self, orders: list[RunOrder]) -> list[str | None]:
        """Start runs; return for each None, or why it cannot be started. One that exists already counts as started.

        Raises:
            ApplicationError: the disk has no room for runs now; Temporal tries again.
        """
        if short := shortage(self._config):
            if all(order.run_type == "manual" for order in orders):
                return [short] * len(orders)
            raise not_yet(short)
        first = orders[0].conf if orders else None
        full = (
            replace(order, conf=first) if order.conf is None else order
            for order in orders
        )
        return list(await asyncio.gather(*map(self._start, full)))

    @activity.defn(name=FIND_ENDED_RUNS)
    async def find_ended_runs(self, runs: list[RunName]) -> list[RunOutcome]:
        """Return the runs that have ended; each attempt looks at 500 others.

        Raises:
            ApplicationError: none of those has ended; Temporal tries again.
        """
        first = (activity.info().attempt - 1) * _LOOKED_AT % max(1, len(runs))
        some = [*runs[first:], *runs[:first]][:_LOOKED_AT]
        outcomes = await asyncio.gather(*map(self._outcome, some))
        ended = [outcome for outcome in outcomes if outcome is not None]
        if not ended:
            raise not_yet("all of them are running")
        return ended

    async def _ask_alone(
        self, question: dict[str, Any], began: float
    ) -> dict[str, Any]:
        if time.monotonic() - began > _ASKING_S:
            return {"is_asked": False}
        try:
            (answer,) = await self._ask([question])
        except DagError as err:
            return {"error": str(err)}
        return answer

    async def _start(self, order: RunOrder) -> str | None:
        run = order.slot
        name = workflow_id(order.dag_id, run.run_id)
        request = _input(order)
        try:
            check_workflow_id(name)
            check_size(
                request, "conf and what else it is given are", "Make conf smaller."
            )
        except DagError as err:
            return str(err)
        if order.is_again and await self._was_just_started(name):
            return None
        found_by = search_attributes.of_run(
            order.dag_id, run.run_id, order.run_type, run.start
        )
        reuse = WorkflowIDReusePolicy.REJECT_DUPLICATE
        if order.is_again:
            reuse = WorkflowIDReusePolicy.ALLOW_DUPLICATE
        try:
            await self._client.start_workflow(
                messages.WORKFLOW,
                request,
                id=name,
                task_queue=self._queue,
                id_reuse_policy=reuse,
                search_attributes=found_by if self._has_search_attributes else None,
                static_summary=shortened(f"{order.dag_id} · {run.run_id}"),
            )
        except WorkflowAlreadyStartedError:
            return None  # by an earlier attempt of this activity, or by a person
        except RPCError as err:
            if err.status == RPCStatusCode.INVALID_ARGUMENT:
                return f"Temporal does not take it: {err.message}"
            raise
        return None

    async def _was_just_started(self, name: str) -> bool:
        """Whether an earlier attempt of this activity started it."""
        try:
            described = await self._client.get_workflow_handle(name).describe()
        except RPCError as err:
            if err.status == RPCStatusCode.NOT_FOUND:
                return False
            raise
        return described.start_time >= activity.info().scheduled_time

    async def _outcome(self, run: RunName) -> RunOutcome | None:
        handle = self._client.get_workflow_handle(workflow_id(run.dag_id, run.run_id))
        try:
            described = await handle.describe()
        except RPCError as err:
            if err.status == RPCStatusCode.NOT_FOUND:
                return await self._remembered(run)
            raise
        if described.status == WorkflowExecutionStatus.RUNNING:
            return None
        return RunOutcome(run, described.status == WorkflowExecutionStatus.COMPLETED)

    async def _remembered(self, run: RunName) -> RunOutcome:
        """Return how a run ended whose history is deleted: its DAG remembers it longer."""
        question = RunQuery(run_ids=(run.run_id,), states=_ENDED)
        for found in await self._active_runs.find(run.dag_id, question):
            return RunOutcome(run, found.card.state is RunState.SUCCESS)
        return RunOutcome(run, is_success=False, is_known=False)


def _input(order: RunOrder) -> DagExecutionInput:
    run = order.slot
    is_manual = order.run_type == "manual"
    return DagExecutionInput(
        dag_id=order.dag_id,
        run_id=run.run_id,
        logical_date=run.start,
        conf=order.conf or {},
        run_type=order.run_type,
        run_after=run.run_after,
        lane=order.lane,
        max_active_runs=order.max_active_runs,
        ignores_past=order.ignores_past,
        data_interval_start=None if is_manual else run.start,
        data_interval_end=None if is_manual else run.end,
        partition_key=run.partition_key,
    )
