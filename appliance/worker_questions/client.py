"""Asks a worker a question that only it can answer, and deletes the workflow that carried it.

A question is a short workflow, since that works on every Temporal server, deleted as soon as it has been answered.
"""

import asyncio
import time
import uuid
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import DeleteWorkflowExecutionRequest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError

from appliance.errors import DagError, TemporalUnreachable
from appliance.temporal.failures import said
from appliance.worker_questions.messages import ASK_WORKFLOW, AskInput

_T = TypeVar("_T")
_ANSWER_S = 120.0
_UNTOUCHED_EVENTS = 2
"""Events of a workflow no worker has looked at: started, workflow task scheduled."""


class Asker:
    """Asks workers on one task queue."""

    def __init__(self, client: Client, queue: str, *, deadline: float) -> None:
        """``deadline``: ``time.monotonic()`` until which a worker may still be starting."""
        self._client = client
        self._queue = queue
        self._deadline = deadline

    async def ask(self, activity: str, question: Any, answer_type: type[_T]) -> _T:
        """Return what the activity answers.

        Raises:
            TemporalUnreachable: no worker took the question.
            DagError: the answer failed in a worker.
        """
        handle: WorkflowHandle[Any, _T] = await self._client.start_workflow(
            ASK_WORKFLOW,
            AskInput(activity, question, _ANSWER_S),
            id=f"ask-{activity}-{uuid.uuid4().hex}",
            task_queue=self._queue,
            result_type=answer_type,
            execution_timeout=timedelta(seconds=2 * _ANSWER_S),
        )
        answer = asyncio.ensure_future(handle.result())
        try:
            patience = max(1.0, self._deadline - time.monotonic())
            await asyncio.wait((answer,), timeout=patience)
            if not answer.done() and await _is_untouched(handle):
                raise TemporalUnreachable(
                    "The Temporal server answers, but no worker on task queue "
                    f"{self._queue!r} does. Look at `appliance health` and at what "
                    "the appliance prints."
                )
            return await answer
        except WorkflowFailureError as err:
            raise DagError(f"The worker could not answer: {said(_root(err))}") from err
        finally:
            answer.cancel()
            await asyncio.shield(self._delete(handle.id))

    async def _delete(self, name: str) -> None:
        request = DeleteWorkflowExecutionRequest(
            namespace=self._client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=name),
        )
        # A server that forbids deleting keeps the answer for its retention, no more.
        with suppress(RPCError):
            await self._client.workflow_service.delete_workflow_execution(request)


def _root(err: BaseException) -> BaseException:
    return err if err.__cause__ is None else _root(err.__cause__)


async def _is_untouched(handle: WorkflowHandle[Any, Any]) -> bool:
    seen = await handle.describe()
    return seen.history_length <= _UNTOUCHED_EVENTS
