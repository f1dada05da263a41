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
        """``asker`` asks a worker for next runs; a worker itself needs none."""
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
        declared: list[KnownSchedule] | None = await self._query(
            DECLARED_QUERY, list[KnownSchedule]
        )
        return None if declared is None else {one.name: one for one in declared}

    async def has_left(self, worker: str) -> bool:
        """Tell whether a worker, given by its identity, is this one or has not polled for some minutes."""
        is_this = worker == self._client.identity
        return is_this or worker not in await pollers(self._client, self._queue)

    async def declare(
        self,
        changed: Sequence[ScheduleDeclaration],
        removed: Sequence[str],
        problems: Sequence[str],
    ) -> None:
        """Declare schedules; starts the scheduler if there is none."""
        gone = limits.parts(removed, _PART_BYTES)
        new = limits.parts(changed, _PART_BYTES, most=_AT_ONCE)
        request = DeclareRequest(problems=_fitting(problems), by=self._client.identity)
        parts = [
            replace(request, removed=names or [], changed=declarations or [])
            for names, declarations in zip_longest(gone, new)
        ]
        for part in parts or [request]:
            await self._update(DECLARE_UPDATE, part)

    async def schedules(self, name: str | None = None) -> ScheduleList:
        """Return all schedules, or the one of this name; none until a worker has declared those of its DAG folder."""
        schedules: ScheduleList | None = await self._query(
            SCHEDULES_QUERY, ScheduleList, *([name] if name else [])
        )
        return schedules or ScheduleList([], is_ready=False)

    async def report_backfilled(self, made: BackfilledRuns) -> None:
        """Report the runs a backfill made, so that the scheduler does not make them again."""
        await self._signal(COVERED_SIGNAL, made)

    async def stop_waiting_for_rings(self) -> None:
        """Let the scheduler make all runs by its own timer: version 0.1 waited for Temporal Schedules to ring."""
        await self._signal(CARRY_SIGNAL, [])

    async def steer(
        self,
        verb: Verb,
        names: Sequence[str],
        conf: dict[str, Any] | None = None,
        *,
        at: str | None = None,
    ) -> dict[str, str]:
        """Pause, resume or trigger schedules; return name -> run id of those triggered.

        ``at``: when a run was triggered; the same time makes one run, however often it is sent.

        Raises:
            DagError: a schedule is not known, or its run cannot be started.
        """
        check_conf(conf, CONF_BYTES)
        request = SteerRequest(verb, list(names), conf, at)
        try:
            result: SteerResult = await self._update(
                STEER_UPDATE, request, result_type=SteerResult
            )
        except WorkflowUpdateFailedError as err:
            raise DagError(f"The scheduler could not do it: {said(err.cause)}") from err
        if result.errors:
            raise DagError("\n".join(result.errors))
        return result.runs

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

    async def _signal(self, signal: str, argument: Any) -> None:
        await self._scheduler.signal(
            scheduler_id(self._queue),
            SchedulerState(),
            signal=signal,
            argument=argument,
        )

    async def _query(self, name: str, kind: type[Any], *arguments: Any) -> Any:
        """Query the scheduler; None when there is none, or it was terminated and the next one has not begun."""
        handle = self._client.get_workflow_handle(scheduler_id(self._queue))
        try:
            return await handle.query(
                name,
                args=arguments,
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
        self, name: str, argument: Any, result_type: type[Any] | None = None
    ) -> Any:
        return await self._scheduler.update(
            scheduler_id(self._queue),
            SchedulerState(),
            update=name,
            argument=argument,
            result_type=result_type,
        )


def _fitting(problems: Sequence[str]) -> list[str]:
    """Return as many problems as fit into a message; `appliance dags errors` lists all."""
    first = next(limits.parts(problems, _PROBLEMS_BYTES), [])
    lines = [problem[:_PROBLEMS_BYTES] for problem in first]
    left = len(problems) - len(lines)
    return [*lines, f"and {left} more: see `appliance dags errors`"] if left else lines
