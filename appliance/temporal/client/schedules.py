"""The scheduler as the rest of the appliance sees it: what is declared to it, and what people ask of it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from temporalio.client import (
    Client,
    WorkflowQueryRejectedError,
    WorkflowUpdateFailedError,
)
from temporalio.common import QueryRejectCondition
from temporalio.service import RPCError, RPCStatusCode

from appliance.dagrun.slots import Declaration, Slot
from appliance.errors import DagError
from appliance.temporal import orders
from appliance.temporal.client.asking import Asker
from appliance.temporal.orders import (
    Covered,
    Declare,
    Known,
    ScheduleList,
    ScheduleRow,
    SchedulerState,
    Steer,
    Steered,
    TimetableAnswer,
    TimetableQuestion,
    Verb,
)
from appliance.temporal.standing import Standing

_AT_ONCE = 100


def scheduler_id(queue: str) -> str:
    """Id of the workflow that schedules for the workers of a task queue."""
    return f"airflow-scheduler-{queue}"


class Schedules:
    """The scheduler of one task queue."""

    def __init__(self, client: Client, queue: str, asker: Asker | None = None) -> None:
        """``asker`` asks workers, for those who are none."""
        self._client = client
        self._queue = queue
        self._scheduler = Standing(
            client,
            queue,
            orders.SCHEDULER_WORKFLOW,
            summary="the schedules of all DAGs",
        )
        self._asker = asker

    async def declared(self) -> dict[str, Known]:
        """Return what was declared, by name; nothing when there is no scheduler yet."""
        found = await self._query(orders.DECLARED_QUERY, list[Known])
        return {one.name: one for one in found or ()}

    async def declare(
        self,
        changed: Sequence[Declaration],
        removed: Sequence[str],
        problems: Sequence[str],
    ) -> None:
        """Say what is to be scheduled; starts the scheduler if there is none."""
        first = 0
        while first == 0 or first < len(changed):
            part = list(changed[first : first + _AT_ONCE])
            told = Declare(part, [] if first else list(removed), list(problems))
            await self._update(orders.DECLARE_UPDATE, told)
            first += _AT_ONCE

    async def schedules(self, name: str | None = None) -> ScheduleList:
        """Return all schedules, or the one of this name; none while no worker has told of its DAG folder."""
        found: ScheduleList | None = await self._query(
            orders.SCHEDULES_QUERY, ScheduleList, *([name] if name else [])
        )
        return found or ScheduleList([], is_ready=False)

    async def covered(self, made: Covered) -> None:
        """Tell that a backfill has made runs, so that the scheduler does not make them again."""
        await self._tell(orders.COVERED_SIGNAL, made)

    async def carry(self, names: Sequence[str]) -> None:
        """Tell the times of which schedules Temporal Schedules know."""
        await self._tell(orders.CARRY_SIGNAL, list(names))

    async def ring(self, name: str) -> None:
        """Tell that the time of a schedule has come."""
        await self._tell(orders.RING_SIGNAL, name)

    async def steer(
        self,
        verb: Verb,
        names: Sequence[str],
        conf: dict[str, Any] | None = None,
        *,
        at: str | None = None,
    ) -> dict[str, str]:
        """Pause, resume or trigger; return the run ids of what was triggered, by name.

        ``at``: when a run was triggered, by somebody who may ask twice for the same.

        Raises:
            DagError: a schedule is not known, or its run cannot be started.
        """
        told = Steer(verb, list(names), conf, at)
        try:
            done: Steered = await self._update(
                orders.STEER_UPDATE, told, result_type=Steered
            )
        except WorkflowUpdateFailedError as err:
            raise DagError(f"The scheduler could not do it: {err.cause}") from err
        if done.errors:
            raise DagError("\n".join(done.errors))
        return done.runs

    async def coming(self, row: ScheduleRow, number: int) -> list[Slot]:
        """Ask a worker for the next runs of a schedule.

        Raises:
            DagError: its timetable fails.
        """
        now = datetime.now(UTC)  # noqa: TID251  # the edge that takes the time
        question = TimetableQuestion(
            ask="coming",
            timetable=row.timetable,
            now=now.isoformat(),
            earliest=row.start_date,
            latest=row.end_date,
            catchup=row.catchup,
            last=row.last,
            limit=number,
        )
        if self._asker is None:
            raise AssertionError("only the command line asks")
        (answer,) = await self._asker.ask(
            orders.ASK_TIMETABLES, [question], list[TimetableAnswer]
        )
        if answer.error is not None:
            raise DagError(f"{row.name}: its timetable fails: {answer.error}")
        return answer.slots

    async def _tell(self, signal: str, told: Any) -> None:
        await self._scheduler.tell(
            scheduler_id(self._queue), SchedulerState(), signal=signal, told=told
        )

    async def _query(self, name: str, kind: type[Any], *asked: Any) -> Any:
        """Ask the scheduler; None when there is none, or it was ended: the next one has not begun."""
        handle = self._client.get_workflow_handle(scheduler_id(self._queue))
        try:
            return await handle.query(
                name,
                args=asked,
                result_type=kind,
                reject_condition=QueryRejectCondition.NOT_OPEN,
            )
        except WorkflowQueryRejectedError:
            return None
        except RPCError as err:
            if err.status == RPCStatusCode.NOT_FOUND:
                return None
            raise

    async def _update(
        self, name: str, told: Any, result_type: type[Any] | None = None
    ) -> Any:
        return await self._scheduler.ask(
            scheduler_id(self._queue),
            SchedulerState(),
            update=name,
            asked=told,
            result_type=result_type,
        )
