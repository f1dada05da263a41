"""Activities of the scheduler and of backfills: ask timetables, start runs, see how runs ended."""

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
"""After that no further timetable is asked for now; the activity has two minutes."""
AskTimetables = Callable[[Sequence[dict[str, Any]]], Awaitable[list[dict[str, Any]]]]


class ScheduleActivities:
    """These activities."""

    def __init__(
        self,
        client: Client,
        config: Config,
        ask: AskTimetables,
        *,
        has_search_attributes: bool,
    ) -> None:
        """``ask`` has Airflow's timetables answer, in a process of their own."""
        self._client = client
        self._registry = ActiveRunsClient(client, config.temporal.task_queue)
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
        """Return what timetables say. One that ends its process, or does not answer, spoils no other's answer."""
        asked = [as_json(question) for question in questions]
        began = time.monotonic()
        try:
            answers = await self._ask(asked)
        except DagError:
            answers = [await self._ask_alone(one, began) for one in asked]
        return [
            TimetableAnswer(
                [ScheduledRun(**slot) for slot in answer.get("slots", ())],
                answer.get("error"),
                answer.get("is_asked", True),
            )
            for answer in answers
        ]

    @activity.defn(name=START_RUNS)
    async def start_runs(self, wanted: list[RunOrder]) -> list[str | None]:
        """Start runs; tell of each why it cannot be. One that there is already is none to be started.

        Raises:
            ApplicationError: there is no room for runs now; it is to be tried again.
        """
        if short := shortage(self._config):
            if all(order.run_type == "manual" for order in wanted):
                return [short] * len(wanted)
            raise not_yet(short)
        first = wanted[0].conf if wanted else None
        full = (
            replace(order, conf=first) if order.conf is None else order
            for order in wanted
        )
        return list(await asyncio.gather(*map(self._start, full)))

    @activity.defn(name=FIND_ENDED_RUNS)
    async def find_ended_runs(self, runs: list[RunName]) -> list[RunOutcome]:
        """Return those that have ended; of many, each attempt looks at some.

        Raises:
            ApplicationError: none has; it is to be tried again.
        """
        first = (activity.info().attempt - 1) * _LOOKED_AT % max(1, len(runs))
        some = [*runs[first:], *runs[:first]][:_LOOKED_AT]
        seen = await asyncio.gather(*map(self._end, some))
        ended = [one for one in seen if one is not None]
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
        slot = order.slot
        name = workflow_id(order.dag_id, slot.run_id)
        given = _given(order)
        try:
            check_workflow_id(name)
            check_size(
                given, "conf and what else it is given are", "Make conf smaller."
            )
        except DagError as err:
            return str(err)
        if order.is_again and await self._was_just_started(name):
            return None
        found_by = search_attributes.of_run(
            order.dag_id, slot.run_id, order.run_type, slot.start
        )
        reuse = WorkflowIDReusePolicy.REJECT_DUPLICATE
        if order.is_again:
            reuse = WorkflowIDReusePolicy.ALLOW_DUPLICATE
        try:
            await self._client.start_workflow(
                messages.WORKFLOW,
                given,
                id=name,
                task_queue=self._queue,
                id_reuse_policy=reuse,
                search_attributes=found_by if self._has_search_attributes else None,
                static_summary=shortened(f"{order.dag_id} · {slot.run_id}"),
            )
        except WorkflowAlreadyStartedError:
            return None  # by an earlier try of this activity, or by a person
        except RPCError as err:
            if err.status == RPCStatusCode.INVALID_ARGUMENT:
                return f"Temporal does not take it: {err.message}"
            raise
        return None

    async def _was_just_started(self, name: str) -> bool:
        """Whether an earlier try of this activity did it."""
        try:
            seen = await self._client.get_workflow_handle(name).describe()
        except RPCError as err:
            if err.status == RPCStatusCode.NOT_FOUND:
                return False
            raise
        return seen.start_time >= activity.info().scheduled_time

    async def _end(self, run: RunName) -> RunOutcome | None:
        handle = self._client.get_workflow_handle(workflow_id(run.dag_id, run.run_id))
        try:
            seen = await handle.describe()
        except RPCError as err:
            if err.status == RPCStatusCode.NOT_FOUND:
                return await self._remembered(run)
            raise
        if seen.status == WorkflowExecutionStatus.RUNNING:
            return None
        return RunOutcome(run, seen.status == WorkflowExecutionStatus.COMPLETED)

    async def _remembered(self, run: RunName) -> RunOutcome:
        """Say how a run ended whose history is gone, by what its DAG remembers longer."""
        question = RunQuery(run_ids=(run.run_id,), states=_ENDED)
        for found in await self._registry.find(run.dag_id, question):
            return RunOutcome(run, found.card.state is RunState.SUCCESS)
        return RunOutcome(run, is_success=False, is_known=False)


def _given(order: RunOrder) -> DagExecutionInput:
    slot = order.slot
    is_manual = order.run_type == "manual"
    return DagExecutionInput(
        dag_id=order.dag_id,
        run_id=slot.run_id,
        logical_date=slot.start,
        conf=order.conf or {},
        run_type=order.run_type,
        run_after=slot.run_after,
        lane=order.lane,
        max_active_runs=order.max_active_runs,
        ignores_past=order.ignores_past,
        data_interval_start=None if is_manual else slot.start,
        data_interval_end=None if is_manual else slot.end,
        partition_key=slot.partition_key,
    )
