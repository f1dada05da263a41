"""Recovery of the state of an entity workflow (DAG, pool, schedules) that was terminated, for the next of its id.

The ended workflow is queried, which replays its history. A history of another version may not replay: then the state
is read from the workflow's input and the messages that it received, which needs no replay. A state that can be read
in neither way is refused, and ``appliance health`` reports it.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowQueryFailedError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from appliance.active_runs.messages import DAG_WORKFLOW, ActiveRunsState
from appliance.pools.messages import POOL_WORKFLOW, PoolState
from appliance.schedules.messages import SCHEDULER_WORKFLOW, SchedulerState
from appliance.temporal import compression, messages
from appliance.temporal.visibility import quoted
from appliance.worker.entity_history import HISTORY_READERS, Decode

_LOG = logging.getLogger(__name__)
_LISTED_S = 60.0
"""By then a workflow that goes on after another one is listed."""
_SAID_S = 150.0
"""So long a refusal is told: it is looked again every minute, by whichever worker."""
_STATES = {
    DAG_WORKFLOW: ActiveRunsState,
    POOL_WORKFLOW: PoolState,
    SCHEDULER_WORKFLOW: SchedulerState,
}
_LOCAL_ACTIVITY = "core_local_activity"
"""The SDK's name of the event that holds the result of a local activity."""


class UnreadableError(Exception):
    """What a workflow knew cannot be read; the text says why and what to do."""


class EntityRecovery:
    """What the workflows of one server knew that have been ended."""

    def __init__(self, client: Client) -> None:
        """Nothing was refused yet."""
        self._client = client
        self._refused: dict[str, tuple[str, float]] = {}

    def refused(self) -> str:
        """Say which workflows cannot begin, and why; empty when all can."""
        oldest = time.monotonic() - _SAID_S
        lately = {n: said for n, said in self._refused.items() if said[1] > oldest}
        self._refused = lately
        return "; ".join(why for why, _ in lately.values())

    @property
    def activities(self) -> Sequence[Callable[..., Any]]:
        """All of them, as a worker takes them."""
        return (self.rebuild,)

    @activity.defn(name=messages.REBUILD)
    async def rebuild(self, name: str) -> str:
        """Return what the last workflow of this id knew, which somebody terminated; nothing for a new one.

        Raises:
            ApplicationError: it cannot be read, by a local activity never again.
        """
        info = activity.info()
        try:
            return await self.of(name, info.workflow_run_id or "")
        except UnreadableError as err:
            raise ApplicationError(
                str(err), type="Unreadable", non_retryable=info.is_local
            ) from err

    async def of(self, name: str, itself: str) -> str:
        """Return what the last workflow of this id knew, packed; that of nothing for a new one.

        Args:
            name: The id.
            itself: The run id of the one that asks.

        Raises:
            UnreadableError: it cannot be read.
        """
        try:
            known = await self._known(name, itself)
        except UnreadableError as err:
            self._refused[name] = str(err), time.monotonic()
            _LOG.error("%s", err)
            raise
        self._refused.pop(name, None)
        return known

    async def _known(self, name: str, itself: str) -> str:
        query = f"WorkflowId = {quoted(name)}"
        seen = [
            one
            async for one in self._client.list_workflows(query)
            if one.run_id != itself
        ]
        seen.sort(key=lambda one: one.start_time)
        if seen and _may_go_on(seen[-1]):
            raise UnreadableError(f"{name} has only just gone on in another run")
        return await self._of_last([one for one in seen if not _has_gone_on(one)])

    async def _of_last(self, ended: Sequence[WorkflowExecution]) -> str:
        """Return what the last of these knew."""
        if not ended:
            return compression.packed({})
        last = ended[-1]
        handle = self._client.get_workflow_handle(last.id, run_id=last.run_id)
        try:
            known: str = await handle.query(messages.STATE_QUERY, result_type=str)
        except WorkflowQueryFailedError as err:
            why = str(err)
        except RPCError as err:
            if err.status is not RPCStatusCode.FAILED_PRECONDITION:
                raise
            why = err.message  # It was ended before any worker saw it.
        else:
            return known
        try:
            known = await self._from_history(handle, last, ended[:-1])
        except (RPCError, UnreadableError):
            raise
        except Exception as wrong:  # whatever another version may have written
            raise UnreadableError(_refusal(last, why, wrong)) from wrong
        _LOG.warning(
            "%s could not be asked what it knew (%s); that is read from the messages "
            "it was sent",
            last.id,
            why,
        )
        return known

    async def _from_history(
        self,
        handle: WorkflowHandle[Any, Any],
        last: WorkflowExecution,
        before: Sequence[WorkflowExecution],
    ) -> str:
        """Make the state from what is in the history, without a replay."""
        decode = self._client.data_converter.decode
        events = [event async for event in handle.fetch_history_events()]
        begun = events[0].workflow_execution_started_event_attributes
        kind = begun.workflow_type.name
        packed = await _taken_over(events, decode)
        if begun.continued_execution_run_id:  # Nobody else hands a state on.
            (state,) = await decode(begun.input.payloads, [_STATES[kind]])
            packed = state.packed
        if packed is None:  # It was ended before it had taken over what there was.
            packed = await self._of_last(before)
        reader = HISTORY_READERS[kind](compression.unpacked(packed))
        for event in events:
            await reader.hear(event, decode)
        return compression.packed(reader.state())


def _has_gone_on(one: WorkflowExecution) -> bool:
    return one.status is WorkflowExecutionStatus.CONTINUED_AS_NEW


def _may_go_on(one: WorkflowExecution) -> bool:
    """Tell whether there may be another run after this one, which is not listed yet."""
    now = datetime.now(UTC)  # noqa: TID251  # the edge that takes the time
    age = now - (one.close_time or now)
    return _has_gone_on(one) and age < timedelta(seconds=_LISTED_S)


async def _taken_over(events: Iterable[HistoryEvent], decode: Decode) -> str | None:
    """Return what a workflow has taken over from one before it; None: nothing yet."""
    asked: set[int] = set()
    for event in events:
        marker = event.marker_recorded_event_attributes
        if marker.marker_name == _LOCAL_ACTIVITY and not marker.HasField("failure"):
            (about,) = await decode(marker.details["data"].payloads)
            if about["activity_type"] == messages.REBUILD:
                return _one(await decode(marker.details["result"].payloads, [str]))
        scheduled = event.activity_task_scheduled_event_attributes
        if scheduled.activity_type.name == messages.REBUILD:
            asked.add(event.event_id)
        done = event.activity_task_completed_event_attributes
        if done.scheduled_event_id in asked:
            return _one(await decode(done.result.payloads, [str]))
    return None


def _one(decoded: list[str]) -> str:
    return decoded[0]


def _refusal(last: WorkflowExecution, why: str, wrong: Exception) -> str:
    return (
        f"{last.id} waits: what it knew before it was ended can neither be asked "
        f"({why}) nor read from its history ({wrong!r}). It does not begin with "
        "nothing: that would forget pauses and make runs twice. Start the version of "
        "the appliance again that it was ended under; or, to begin with nothing, "
        f"delete what cannot be read: temporal workflow delete --workflow-id '{last.id}' "
        f"--run-id {last.run_id}"
    )
