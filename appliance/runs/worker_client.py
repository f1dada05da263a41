"""Client for the tries of a worker: queries their own runs for XComs and facts, in batches."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    DescribeWorkflowExecutionResponse,
)
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from appliance.config.model import Secrets
from appliance.dagrun.attempt import RunFacts, XComRow
from appliance.runs.messages import (
    FACTS_QUERY,
    XCOMS_QUERY,
    RunSecretsAndConf,
    TryLocation,
    XComQuestion,
)
from appliance.taskrun.protocols import InstanceRow, OtherRuns
from appliance.temporal import messages
from appliance.temporal.batching import Batching, each_once, patiently
from appliance.temporal.keyring import Keyring
from appliance.temporal.messages import TaskRow
from appliance.temporal.sealing import seal_parked, unseal, unseal_parked

_KEEP_RUNS = 256
_A_MOMENT = timedelta(seconds=0.5)
_GOING_ON = (
    WorkflowExecutionStatus.RUNNING,
    WorkflowExecutionStatus.CONTINUED_AS_NEW,
)


class WorkerRun:
    """One run, as the tries of this worker see it."""

    def __init__(
        self, client: Client, run: RunFacts, keys: Keyring, others: OtherRuns
    ) -> None:
        """Nothing is asked yet."""
        self.others = others
        self._handle = client.get_workflow_handle(run.workflow_id)
        self._workflow = run.workflow_id
        self._dag_id = run.dag_id
        self._keys = keys
        self._facts: asyncio.Task[RunSecretsAndConf] | None = None
        self._xcoms = Batching(each_once(self._query_xcoms))

    async def xcoms(self, task_ids: Sequence[str], *, key: str | None) -> list[XComRow]:
        """Return the XComs of these tasks (all map indexes); ``key`` None: every key."""
        return await self._xcoms(XComQuestion(tuple(task_ids), key))

    async def instances(self, task_ids: Sequence[str] | None) -> list[InstanceRow]:
        """Return the instances of these tasks; of every task when None."""
        rows: list[TaskRow] = await patiently(
            lambda: self._handle.query(messages.STATES_QUERY, result_type=list[TaskRow])
        )
        return [
            instance_row(row)
            for row in rows
            if task_ids is None or row.task_id in task_ids
        ]

    async def conf(self) -> dict[str, object]:
        """Return the conf the run was started with."""
        return (await self._given()).conf

    async def secrets(self) -> Secrets | None:
        """Return the connections and variables the run was given for itself alone."""
        sealed = (await self._given()).sealed
        if not sealed:
            return None
        return unseal(sealed, self._workflow, self._keys, dag_id=self._dag_id)

    def seal_json(self, value: Any) -> str:
        """Return text that only a worker can open, for this run."""
        return seal_parked(value, self._workflow, self._keys)

    def open_json(self, sealed: str) -> Any:
        """Return what ``seal_json`` was given.

        Raises:
            ConfigError: sealed with a key this box does not have.
        """
        return unseal_parked(sealed, self._workflow, self._keys)

    async def _given(self) -> RunSecretsAndConf:
        if self._facts is None or (self._facts.done() and self._facts.exception()):
            self._facts = asyncio.create_task(self._query_facts())
        return await asyncio.shield(self._facts)

    async def _query_facts(self) -> RunSecretsAndConf:
        facts: RunSecretsAndConf = await patiently(
            lambda: self._handle.query(FACTS_QUERY, result_type=RunSecretsAndConf)
        )
        return facts

    async def _query_xcoms(self, questions: list[XComQuestion]) -> list[list[XComRow]]:
        answers: list[list[XComRow]] = await self._handle.query(
            XCOMS_QUERY, questions, result_type=list[list[XComRow]]
        )
        return answers


class WorkerRuns:
    """The runs this worker has lately run tries of."""

    def __init__(self, client: Client, keys: Keyring, others: OtherRuns) -> None:
        """``keys`` open what submissions sealed; ``others``: what tries may ask about other runs."""
        self._others = others
        self._client = client
        self._keys = keys
        self._runs: OrderedDict[tuple[str, str], WorkerRun] = OrderedDict()

    def of(self, facts: RunFacts) -> WorkerRun:
        """Return the run a try is told of."""
        name = (facts.workflow_id, facts.dag_id)
        run = self._runs.get(name)
        if run is None:
            run = WorkerRun(self._client, facts, self._keys, self._others)
            self._runs[name] = run
            if len(self._runs) > _KEEP_RUNS:
                self._runs.popitem(last=False)
        self._runs.move_to_end(name)
        return run

    async def goes_on(self, workflow: str, run: str) -> bool:
        """Tell whether a run has not been terminated or reset; what cannot be found out counts as true.

        A run that was handed over to a fresh workflow run goes on: that asks for its tries.
        """
        try:
            seen = await self._client.get_workflow_handle(
                workflow, run_id=run
            ).describe()
        except RPCError as err:
            return err.status != RPCStatusCode.NOT_FOUND
        return seen.status in _GOING_ON

    async def has_ended(self, workflow: str) -> bool:
        """Tell whether a run has ended, all it was handed over to included; what cannot be found out counts as false."""
        try:
            seen = await self._client.get_workflow_handle(workflow).describe()
        except RPCError as err:
            return err.status == RPCStatusCode.NOT_FOUND
        return seen.status != WorkflowExecutionStatus.RUNNING

    async def holders(self, workflow: str, run: str) -> dict[str, TryLocation]:
        """Return where the activities of a run are, by their id; that of its try.

        What begins in a moment counts as begun: it may have by the time the answer is acted on.
        """
        seen = await self._describe(workflow, run)
        soon = datetime.now(UTC) + _A_MOMENT  # noqa: TID251  # the edge that takes the time
        return {
            pending.activity_id: TryLocation(
                queue=await self._heartbeat(pending),
                again_at=_again_at(pending, soon),
                attempt=pending.attempt,
            )
            for pending in seen.pending_activities
        }

    async def _heartbeat(self, pending: PendingActivityInfo) -> str:
        """Return what the last heartbeat of the current attempt named."""
        payloads = pending.heartbeat_details.payloads
        is_taken = pending.state == PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
        if not payloads or not is_taken:
            return ""
        return str((await self._client.data_converter.decode(payloads))[0])

    async def stopped(self, workflow: str, run: str) -> frozenset[str]:
        """Return the ids of the activities a run has asked to end; none if that cannot be found out."""
        try:
            seen = await self._describe(workflow, run)
        except RPCError:
            return frozenset()
        asked = PendingActivityState.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED
        return frozenset(
            pending.activity_id
            for pending in seen.pending_activities
            if pending.state == asked
        )

    async def _describe(
        self, workflow: str, run: str
    ) -> DescribeWorkflowExecutionResponse:
        request = DescribeWorkflowExecutionRequest(
            namespace=self._client.namespace,
            execution=WorkflowExecution(workflow_id=workflow, run_id=run),
        )
        service = self._client.workflow_service
        return await service.describe_workflow_execution(request)


def instance_row(row: TaskRow) -> InstanceRow:
    """Return a task instance as tries are told of it."""
    return InstanceRow(
        row.task_id,
        row.map_index,
        row.state,
        _seconds(row),
        row.try_number,
        row.start_date,
        row.end_date,
    )


def _seconds(row: TaskRow) -> float | None:
    if row.start_date is None or row.end_date is None:
        return None
    start = datetime.fromisoformat(row.start_date)
    return (datetime.fromisoformat(row.end_date) - start).total_seconds()


def _again_at(pending: PendingActivityInfo, soon: datetime) -> str | None:
    """Return when the next attempt begins; None when one has begun, or does so soon."""
    if pending.state != PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED:
        return None
    at = pending.scheduled_time.ToDatetime(UTC)
    return at.isoformat() if at > soon else None
