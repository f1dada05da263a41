"""Client for tries that ask about other runs, of any DAG, and start them."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from appliance.active_runs.client import ActiveRunsClient
from appliance.active_runs.messages import FoundRun
from appliance.dagfile.models import DagFacts
from appliance.dagrun.attempt import XComRow
from appliance.dagrun.run_record import RunQuery, RunRecord
from appliance.errors import DagError
from appliance.runs.messages import XCOMS_QUERY, XComQuestion
from appliance.runs.start import RunStarter
from appliance.runs.worker_client import instance_row
from appliance.schedules.client import SchedulesClient
from appliance.sockets.submit_request import SubmitRequest
from appliance.taskrun.protocols import DagView, InstanceRow, RunWish
from appliance.temporal import messages
from appliance.temporal.batching import patiently

Facts = Callable[[str], Awaitable[DagFacts]]
"""What is known of a DAG by its id, as ``DagFolder.facts``."""


@dataclass(frozen=True, slots=True)
class OtherRunClient:
    """One run."""

    client: Client
    registry: ActiveRunsClient
    found: FoundRun

    @property
    def card(self) -> RunRecord:
        """What is known of it."""
        return self.found.card

    async def instances(self) -> Sequence[InstanceRow]:
        """Return all its instances; none when nobody remembers them."""
        rows = await patiently(lambda: self.registry.rows(self.found))
        return [instance_row(row) for row in rows]

    async def xcoms(
        self, task_ids: Sequence[str], *, key: str | None
    ) -> Sequence[XComRow]:
        """Return the XComs of these tasks; none when its history has expired."""
        question = XComQuestion(tuple(task_ids), key)
        handle = self.client.get_workflow_handle(self.card.workflow_id)
        try:
            answers: list[list[XComRow]] = await patiently(
                lambda: handle.query(
                    XCOMS_QUERY, [question], result_type=list[list[XComRow]]
                )
            )
        except WorkflowQueryFailedError:
            return []
        except RPCError as err:
            if err.status == RPCStatusCode.NOT_FOUND:
                return []
            raise
        return answers[0]


@dataclass(frozen=True, slots=True)
class OtherRunsClient:
    """All of them."""

    client: Client
    registry: ActiveRunsClient
    starter: RunStarter
    facts: Facts
    schedules: SchedulesClient

    async def find(self, dag_id: str, question: RunQuery) -> Sequence[OtherRunClient]:
        """Return the runs asked for; a DAG that never ran has none."""
        found = await patiently(lambda: self.registry.find(dag_id, question))
        return [OtherRunClient(self.client, self.registry, run) for run in found]

    async def dag(self, dag_id: str) -> DagView:
        """Return a DAG.

        Raises:
            DagError: There is none.
        """
        facts = await self.facts(dag_id)
        try:
            rows = (await self.schedules.schedules()).rows
        except DagError:
            rows = []  # Nothing has been scheduled yet.
        known = [row for row in rows if row.name == dag_id]
        return DagView(
            is_paused=any(row.state == "paused" for row in known),
            next_run=next((row.next_run for row in known), None),
            owners=facts.owners,
            tags=facts.tags,
        )

    async def tasks(self, dag_id: str) -> Collection[str]:
        """Return the ids of a DAG's tasks.

        Raises:
            DagError: There is no such DAG.
        """
        return tuple((await self.facts(dag_id)).plan["tasks"])

    async def groups(self, dag_id: str) -> Mapping[str, Sequence[str]]:
        """Return the task ids of each task group of a DAG.

        Raises:
            DagError: There is no such DAG.
        """
        return (await self.facts(dag_id)).groups

    async def start(self, wish: RunWish) -> bool:
        """Start a run; False when there is one of this id or logical date, and it is not to be reset.

        Raises:
            DagError: The DAG cannot be run so.
        """
        now = datetime.now(UTC).isoformat()  # noqa: TID251  # the edge that takes the time
        request = SubmitRequest(
            dag_id=wish.dag_id,
            conf=wish.conf,
            logical_date=wish.logical_date,
            is_dated=wish.logical_date is not None,
            run_id=wish.run_id,
            run_type="operator_triggered",
            run_after=wish.run_after,
            triggering_user=wish.triggering_user,
        ).named(now)
        if await self._has_date(wish):
            return False
        try:
            await patiently(lambda: self.starter.start(request))
        except DagError as err:
            if not isinstance(err.__cause__, WorkflowAlreadyStartedError):
                raise
            if wish.is_reset:
                await self._start_again(request)
            return wish.is_reset
        return True

    async def _has_date(self, wish: RunWish) -> bool:
        """Whether another run has the logical date.

        Raises:
            DagError: There is one, and it is to be run again by an id it does not have.
        """
        if wish.logical_date is None:
            return False
        question = RunQuery(logical_dates=(messages.utc(wish.logical_date),))
        ids = [run.card.run_id for run in await self.find(wish.dag_id, question)]
        if not ids or wish.run_id in ids:
            return False
        if wish.is_reset:
            raise DagError(
                f"{wish.dag_id} has no run {wish.run_id!r} to be reset; that of "
                f"{wish.logical_date} is {ids[0]!r}"
            )
        return True

    async def _start_again(self, request: SubmitRequest) -> None:
        """Run a run again as it was run first."""
        question = RunQuery(run_ids=(request.run_id or "",))
        for run in await self.find(request.dag_id, question):
            await self.starter.start_again(request, run.card)
            return
        await self.starter.start_again(request, None)
