"""Client of entity workflows: signal-with-start, update-with-start, query.

Each call starts the workflow if it does not run, so one that was terminated is back as soon as it is needed.
"""

import asyncio
import time
from typing import Any

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowQueryFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy

from appliance.temporal.entity_loop import NOT_READY

_WHICHEVER_RUNS = WorkflowIDConflictPolicy.USE_EXISTING
_LOOK_AGAIN_S = 0.2
_READY_S = 30.0
"""How long a query is asked again while the workflow takes over what an earlier one knew."""


class EntityClient:
    """Client for the workflows of one type on one server.

    ``state``, below, is the input of a workflow that has to be started.
    """

    def __init__(
        self, client: Client, queue: str, kind: str, *, summary: str | None = None
    ) -> None:
        """``kind``: the workflow type; ``summary``: its line in the Temporal UI."""
        self._client = client
        self._queue = queue
        self._kind = kind
        self._summary = summary

    async def signal(
        self, name: str, state: Any, *, signal: str, argument: Any
    ) -> None:
        """Send a signal to the workflow with the id ``name``."""
        await self._client.start_workflow(
            self._kind,
            state,
            id=name,
            task_queue=self._queue,
            id_conflict_policy=_WHICHEVER_RUNS,
            static_summary=self._summary,
            start_signal=signal,
            start_signal_args=[argument],
        )

    async def query(
        self, name: str, query: str, *arguments: Any, result_type: type[Any]
    ) -> Any:
        """Return what the workflow with the id ``name`` answers to a query, as soon as it knows its state.

        Raises:
            RPCError: status ``NOT_FOUND``: there is no such workflow.
            WorkflowQueryFailedError: it does not answer.
        """
        handle = self._client.get_workflow_handle(name)
        deadline = time.monotonic() + _READY_S
        while True:
            try:
                return await handle.query(
                    query, args=arguments, result_type=result_type
                )
            except WorkflowQueryFailedError as err:
                if NOT_READY not in str(err) or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def update(
        self,
        name: str,
        state: Any,
        *,
        update: str,
        argument: Any,
        result_type: type[Any] | None = None,
    ) -> Any:
        """Return what the workflow with the id ``name`` answers to an update.

        Raises:
            WorkflowUpdateFailedError: the workflow refused it.
        """
        return await self._client.execute_update_with_start_workflow(
            update,
            argument,
            start_workflow_operation=WithStartWorkflowOperation(
                self._kind,
                state,
                id=name,
                task_queue=self._queue,
                id_conflict_policy=_WHICHEVER_RUNS,
                static_summary=self._summary,
            ),
            result_type=result_type,
        )
