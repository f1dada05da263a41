"""Client of the DAG workflows: announces runs, records their ends, finds runs of any DAG."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from temporalio.client import (
    Client,
    WorkflowExecutionStatus,
    WorkflowQueryFailedError,
)
from temporalio.service import RPCError, RPCStatusCode

from appliance.active_runs.messages import (
    CLOSED_SIGNAL,
    DAG_WORKFLOW,
    ENTER_UPDATE,
    FIND_QUERY,
    HOLDERS_QUERY,
    LOST_SIGNAL,
    ActiveRunsState,
    FoundRun,
    LostRun,
    RunAnnouncement,
    RunEnd,
)
from appliance.dagrun.run_record import RunQuery, RunRecord
from appliance.dagrun.states import RunState
from appliance.temporal import compression, messages
from appliance.temporal.batching import BatchingPerKey
from appliance.temporal.entity_client import EntityClient
from appliance.temporal.messages import TaskRow

_OPEN = (RunState.QUEUED, RunState.RUNNING)


def dag_workflow_id(dag_id: str) -> str:
    """Id of the workflow that stands for a DAG."""
    return f"airflow-dag-{dag_id}"


class ActiveRunsClient:
    """All DAGs' workflows on one server."""

    def __init__(self, client: Client, queue: str) -> None:
        """``queue``: the task queue of the workers."""
        self._client = client
        self._dags = EntityClient(client, queue, DAG_WORKFLOW)
        self._entering = BatchingPerKey(self._enter)

    async def enter(self, entry: RunAnnouncement) -> bool:
        """Announce a run; tell whether it may run now. Many at once become one request a DAG."""
        return await self._entering(entry.dag_id, entry)

    async def close(self, closing: RunEnd) -> None:
        """Tell how a run ended."""
        name, state = dag_workflow_id(closing.dag_id), ActiveRunsState(closing.dag_id)
        await self._dags.signal(name, state, signal=CLOSED_SIGNAL, argument=closing)

    async def find(self, dag_id: str, question: RunQuery) -> list[FoundRun]:
        """Return the runs asked for, each with the state it is in now."""
        name = dag_workflow_id(dag_id)
        try:
            found: list[FoundRun] = await self._dags.query(
                name, FIND_QUERY, question, result_type=list[FoundRun]
            )
        except RPCError as err:
            if err.status == RPCStatusCode.NOT_FOUND:
                return []
            raise
        gone = await self._gone([run.card for run in found])
        if not gone:
            return found
        handle = self._client.get_workflow_handle(name)
        await handle.signal(LOST_SIGNAL, _named(list(gone.values())))
        true = [replace(run, card=gone.get(run.card.run_id, run.card)) for run in found]
        states = question.states
        return [run for run in true if states is None or run.card.state in states]

    async def rows(self, run: FoundRun) -> list[TaskRow]:
        """Return the task instances of a run; none when nobody remembers them."""
        if run.tasks:
            return compression.unpack_rows(run.tasks)
        handle = self._client.get_workflow_handle(run.card.workflow_id)
        try:
            rows: list[TaskRow] = await handle.query(
                messages.STATES_QUERY, result_type=list[TaskRow]
            )
        except WorkflowQueryFailedError:
            return []
        except RPCError as err:
            if err.status == RPCStatusCode.NOT_FOUND:
                return []
            raise
        return rows

    async def lost_holders(self, dag_id: str) -> list[LostRun] | None:
        """Return which runs that others wait for are gone; None while nobody need look again."""
        holders: list[RunRecord] = await self._dags.query(
            dag_workflow_id(dag_id), HOLDERS_QUERY, result_type=list[RunRecord]
        )
        gone = await self._gone(holders)
        return _named(list(gone.values())) if holders else None

    async def _enter(
        self, dag_id: str, entries: Sequence[RunAnnouncement]
    ) -> list[bool]:
        answers: list[bool] = await self._dags.update(
            dag_workflow_id(dag_id),
            ActiveRunsState(dag_id),
            update=ENTER_UPDATE,
            argument=list(entries),
            result_type=list[bool],
        )
        return answers

    async def _gone(self, cards: Sequence[RunRecord]) -> dict[str, RunRecord]:
        """Return those that claim to be open and are not, as they ended."""
        open_ones = [card for card in cards if card.state in _OPEN]
        ends = await asyncio.gather(*(self._end(card) for card in open_ones))
        return {
            card.run_id: replace(card, state=state)
            for card, state in zip(open_ones, ends, strict=True)
            if state is not None
        }

    async def _end(self, card: RunRecord) -> RunState | None:
        """Return how a run has ended; None when it has not."""
        try:
            seen = await self._client.get_workflow_handle(card.workflow_id).describe()
        except RPCError as err:
            if err.status == RPCStatusCode.NOT_FOUND:
                return RunState.FAILED
            raise
        match seen.status:
            case WorkflowExecutionStatus.RUNNING:
                return None
            case WorkflowExecutionStatus.COMPLETED:
                return RunState.SUCCESS
            case _:
                return RunState.FAILED


def _named(cards: Sequence[RunRecord]) -> list[LostRun]:
    return [LostRun(card.run_id, card.execution) for card in cards]
