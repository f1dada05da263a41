"""Client of the scheduler workflow: declare schedules, list them, pause, resume and trigger them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any

from temporalio.client import (
    Client,
    WorkflowQueryRejectedError,
    WorkflowUpdateFailedError,
)
from temporalio.common import QueryRejectCondition
from temporalio.service import RPCError, RPCStatusCode

from appliance.dagrun.timing import ScheduleDeclaration, ScheduledRun
from appliance.errors import DagError
from appliance.schedules.messages import (
    CARRY_SIGNAL,
    COVERED_SIGNAL,
    DECLARE_UPDATE,
    DECLARED_QUERY,
    RING_SIGNAL,
    SCHEDULER_WORKFLOW,
    SCHEDULES_QUERY,
    STEER_UPDATE,
    BackfilledRuns,
    DeclareRequest,
    KnownSchedule,
    ScheduleList,
    ScheduleRow,
    SchedulerState,
    SteerRequest,
    SteerResult,
    TimetableAnswer,
    TimetableQuestion,
    Verb,
)
from appliance.temporal import limits
from appliance.temporal.entity_client import EntityClient
from appliance.temporal.failures import said
from appliance.temporal.limits import CONF_BYTES, check_conf
from appliance.temporal.server_health import pollers
from appliance.worker_questions.client import Asker
from appliance.worker_questions.messages import ASK_TIMETABLES

_AT_ONCE = 100
_PART_BYTES = 500_000
_PROBLEMS_BYTES = 200_000


def scheduler_id(queue: str) -> str:
    """Id of the workflow that schedules for the workers of a task queue."""
    return f"airflow-scheduler-{queue}"


class SchedulesClient:
    """The scheduler of one task queue."""

    def __init__(self, client: Client, queue: str, asker: Asker | None = None) -> None:
        """``asker`` asks workers, for those who are none."""
        self._client = client
        self._queue = queue
        self._scheduler = EntityClient(
            client,
            queue,
            SCHEDULER_WORKFLOW,
            summary="the schedules of all DAGs",
        )
        self._asker = asker

    async def declared(self) -> dict[str, KnownSchedule] | None:
        """Return what was declared, by name; None when there is no scheduler."""
        found: list[KnownSchedule] | None = await self._query(
            DECLARED_QUERY, list[KnownSchedule]
        )
        return None if found is None else {one.name: one for one in found}

    async def has_left(self, worker: str) -> bool:
        """Tell whether a worker, which is not this one, has not asked for work for some minutes."""
        is_this = worker == self._client.identity
        return is_this or worker not in await pollers(self._client, self._queue)

    async def declare(
        self,
        changed: Sequence[ScheduleDeclaration],
        removed: Sequence[str],
        problems: Sequence[str],
    ) -> None:
        """Say what is to be scheduled; starts the scheduler if there is none."""
        gone = limits.parts(removed, _PART_BYTES)
        new = limits.parts(changed, _PART_BYTES, most=_AT_ONCE)
        declare = DeclareRequest(problems=_told(problems), by=self._client.identity)
        parts = [
            replace(declare, removed=names or [], changed=part or [])
            for names, part in zip_longest(gone, new)
        ]
        for told in parts or [declare]:
            await self._update(DECLARE_UPDATE, told)

    async def schedules(self, name: str | None = None) -> ScheduleList:
        """Return all schedules, or the one of this name; none while no worker has told of its DAG folder."""
        found: ScheduleList | None = await self._query(
            SCHEDULES_QUERY, ScheduleList, *([name] if name else [])
        )
        return found or ScheduleList([], is_ready=False)

    async def report_backfilled(self, made: BackfilledRuns) -> None:
        """Tell that a backfill has made runs, so that the scheduler does not make them again."""
        await self._tell(COVERED_SIGNAL, made)

    async def carry(self, names: Sequence[str]) -> None:
        """Tell the times of which schedules Temporal Schedules know."""
        await self._tell(CARRY_SIGNAL, list(names))

    async def ring(self, name: str) -> None:
        """Tell that the time of a schedule has come."""
        await self._tell(RING_SIGNAL, name)

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
        check_conf(conf, CONF_BYTES)
        told = SteerRequest(verb, list(names), conf, at)
        try:
            done: SteerResult = await self._update(
                STEER_UPDATE, told, result_type=SteerResult
            )
        except WorkflowUpdateFailedError as err:
            raise DagError(f"The scheduler could not do it: {said(err.cause)}") from err
        if done.errors:
            raise DagError("\n".join(done.errors))
        return done.runs

    async def coming(self, row: ScheduleRow, number: int) -> list[ScheduledRun]:
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
            ASK_TIMETABLES, [question], list[TimetableAnswer]
        )
        if answer.error is not None:
            raise DagError(f"{row.name}: its timetable fails: {answer.error}")
        return answer.slots

    async def _tell(self, signal: str, told: Any) -> None:
        await self._scheduler.signal(
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
        return await self._scheduler.update(
            scheduler_id(self._queue),
            SchedulerState(),
            update=name,
            asked=told,
            result_type=result_type,
        )


def _told(problems: Sequence[str]) -> list[str]:
    """Return as many problems as can be sent along; `appliance dags errors` tells all."""
    told = next(limits.parts(problems, _PROBLEMS_BYTES), [])
    told = [one[:_PROBLEMS_BYTES] for one in told]
    left = len(problems) - len(told)
    return [*told, f"and {left} more: see `appliance dags errors`"] if left else told
