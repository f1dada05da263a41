"""Client of backfills: plan, start, watch and cancel one."""

import asyncio
from collections.abc import Callable

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from appliance.backfills.messages import (
    BACKFILL_WORKFLOW,
    PROGRESS_QUERY,
    BackfillPlan,
    BackfillProgress,
    BackfillRequest,
    BackfillState,
    PlannedRun,
)
from appliance.errors import DagError
from appliance.temporal import cancellation
from appliance.temporal.failures import said
from appliance.temporal.limits import CONF_BYTES, check_conf, shortened
from appliance.worker_questions.client import Asker
from appliance.worker_questions.messages import PLAN_BACKFILL

_LOOK_S = 1.0


def backfill_id(dag_id: str) -> str:
    """Id of the workflow that backfills a DAG; there is one at a time, as in Airflow."""
    return f"airflow-backfill-{dag_id}"


class BackfillsClient:
    """The backfills of one server."""

    def __init__(self, client: Client, queue: str, asker: Asker) -> None:
        """``asker`` asks workers."""
        self._client = client
        self._queue = queue
        self._asker = asker

    async def plan(self, request: BackfillRequest) -> list[PlannedRun]:
        """Return the runs it would make, and those it would leave out.

        Raises:
            DagError: the DAG cannot be backfilled so.
        """
        check_conf(request.conf, CONF_BYTES)
        plan = await self._asker.ask(PLAN_BACKFILL, request, BackfillPlan)
        if plan.refusal is not None:
            raise DagError(plan.refusal)
        return plan.runs

    async def start(self, request: BackfillRequest) -> str:
        """Start it and return its workflow id.

        Raises:
            DagError: the DAG is being backfilled already, or the conf is too large.
        """
        check_conf(request.conf, CONF_BYTES)
        name = backfill_id(request.dag_id)
        period = f"{request.from_date} to {request.to_date}"
        try:
            await self._client.start_workflow(
                BACKFILL_WORKFLOW,
                args=[request, BackfillState()],
                id=name,
                task_queue=self._queue,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
                static_summary=shortened(f"{request.dag_id} · {period}"),
            )
        except WorkflowAlreadyStartedError as err:
            raise DagError(
                f"{request.dag_id} is being backfilled already. Watch it: {name} in the "
                f"Temporal UI; end it: appliance backfill {request.dag_id} --cancel"
            ) from err
        return name

    async def watch(
        self, dag_id: str, show: Callable[[BackfillProgress], None]
    ) -> BackfillProgress:
        """Show progress until it has ended; return how it ended.

        Raises:
            DagError: it could not go on, or was cancelled.
        """
        handle = self._client.get_workflow_handle(
            backfill_id(dag_id), result_type=BackfillProgress
        )
        ending = asyncio.ensure_future(_end(handle, dag_id))
        try:
            while not (await asyncio.wait((ending,), timeout=_LOOK_S))[0]:
                if (seen := await self._progress(handle)) is not None:
                    show(seen)
            return await ending
        finally:
            ending.cancel()

    async def cancel(self, dag_id: str) -> None:
        """Make no more of its runs.

        Raises:
            DagError: the DAG is not being backfilled.
        """
        handle = self._client.get_workflow_handle(backfill_id(dag_id))
        none = f"{dag_id} is not being backfilled."
        await cancellation.cancel(handle, otherwise=none)

    async def _progress(
        self, handle: WorkflowHandle[object, BackfillProgress]
    ) -> BackfillProgress | None:
        try:
            found: BackfillProgress = await handle.query(
                PROGRESS_QUERY, result_type=BackfillProgress
            )
        except RPCError:
            return None  # no worker answers just now; the backfill goes on
        return found


async def _end(
    handle: WorkflowHandle[object, BackfillProgress], dag_id: str
) -> BackfillProgress:
    try:
        return await handle.result()
    except WorkflowFailureError as err:
        raise DagError(f"The backfill of {dag_id} ended: {said(err.cause)}") from err
