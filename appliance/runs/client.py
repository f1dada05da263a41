"""Client of runs, for commands: start, find, wait for, cancel and answer a run; list runs and DAGs.

A question only a worker can answer (what is in a DAG file, what an XCom reference stands for) is a short workflow that
is deleted as soon as it has answered, so that it leaves nothing behind in the UI.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

import temporalio.client
from temporalio.client import (
    WorkflowExecution,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
)
from temporalio.service import RPCError, RPCStatusCode

from appliance.backfills.client import BackfillsClient
from appliance.config.model import Config
from appliance.dagfile.models import FileError, ListedDag, Listing
from appliance.errors import ConfigError, DagError, TemporalUnreachable, WaitTimeout
from appliance.runs import ended_runs, hitl_client
from appliance.runs.messages import DagExecutionResult, DagQuestion, Response
from appliance.runs.reports import RunReport, RunRow
from appliance.runs.start import RunStarter
from appliance.runs.xcoms import XComs
from appliance.schedules.client import SchedulesClient
from appliance.sockets.probe import probe
from appliance.sockets.submit_request import SubmitRequest, Submitted
from appliance.temporal import cancellation, messages, search_attributes
from appliance.temporal.connection import dial, ui_url, unreachable, workflow_id
from appliance.temporal.health import ProbeResult
from appliance.temporal.messages import DagAnswer, TaskRow
from appliance.temporal.namespace import prepare
from appliance.worker_questions.client import Asker
from appliance.worker_questions.messages import LIST_DAGS, READ_DAG

_STATES = {
    WorkflowExecutionStatus.COMPLETED: "success",
    WorkflowExecutionStatus.RUNNING: "running",
    WorkflowExecutionStatus.CONTINUED_AS_NEW: "running",
}
"""Every other end of a workflow is a failed run."""


@asynccontextmanager
async def connect(
    config: Config, *, wait_s: float = 30.0
) -> AsyncIterator["ApplianceClient"]:
    """Connect to the server, waiting up to ``wait_s`` for a box that is still starting.

    Raises:
        TemporalUnreachable: nothing answered in time, or no longer.
    """
    deadline = time.monotonic() + wait_s
    client = await dial(config, wait_s=wait_s)
    try:
        yield ApplianceClient(client, config, deadline)
    except RPCError as err:
        raise unreachable(config, err) from err


class ApplianceClient:
    """A connection to the server, and the questions people have."""

    def __init__(
        self, client: temporalio.client.Client, config: Config, deadline: float
    ) -> None:
        """``deadline``: ``time.monotonic()`` until which a box may still be starting."""
        self._client = client
        self._config = config
        queue = config.temporal.task_queue
        self._asker = Asker(client, queue, deadline=deadline)
        self._xcoms = XComs(config, self._asker)
        self.scheduling = SchedulesClient(client, queue, self._asker)
        self.backfills = BackfillsClient(client, queue, self._asker)

    async def submit(self, request: SubmitRequest) -> Submitted:
        """Have a worker read and check the DAG, then start the run.

        Raises:
            DagError: the DAG cannot be run so, or the run id is used already.
            TemporalUnreachable: no worker answered, or the server did not, which may have started the run.
        """
        starter = RunStarter(self._client, self._config, self._read)
        try:
            return await starter.start(request)
        except RPCError as err:
            told = unreachable(self._config, err)
            if isinstance(told, ConfigError):
                raise told from err  # No worker was ever there to start it.
            raise TemporalUnreachable(f"{told}\n{request.in_doubt}") from err

    async def result(
        self, workflow: str, *, timeout_s: float | None = None
    ) -> RunReport:
        """Wait for the end of a run.

        Raises:
            DagError: there is no such run.
            WaitTimeout: ``timeout_s`` passed; the run goes on.
        """
        handle = self._client.get_workflow_handle(workflow)
        try:
            await asyncio.wait_for(ended_runs.end(handle), timeout_s)
        except TimeoutError as err:
            raise WaitTimeout(
                f"{workflow} has not ended after {timeout_s:g} s; it goes on."
            ) from err
        except RPCError as err:
            raise _no_run(workflow, err) from err
        return await self.report(workflow)

    async def report(self, workflow: str) -> RunReport:
        """Say how a run stands.

        Raises:
            DagError: there is no such run.
        """
        handle = self._client.get_workflow_handle(workflow)
        try:
            seen = await handle.describe()
        except RPCError as err:
            raise _no_run(workflow, err) from err
        if seen.workflow_type != messages.WORKFLOW:
            raise DagError(f"{workflow} is a workflow, but not a DAG run.")
        result = await ended_runs.outcome(handle, seen.status)
        tasks = ended_runs.tasks(result)
        if result is None or result.tasks_total > len(tasks):
            tasks = await self._states(handle) or tasks
        if seen.status != WorkflowExecutionStatus.RUNNING:
            tasks = [ended_runs.as_ended(row) for row in tasks]
        dag_id, run_id = _names(seen, result)
        start = result.start_date if result else _iso(await self._began(seen))
        end = result.end_date if result else _iso(seen.close_time)
        order = sorted(tasks, key=lambda row: (row.task_id, row.map_index))
        return RunReport(
            dag_id=dag_id,
            run_id=run_id,
            workflow_id=workflow,
            state=result.state if result else _live_state(seen),
            start_date=start,
            end_date=end,
            duration_s=_seconds(start, end),
            url=ui_url(self._config, workflow),
            tasks_succeeded=result.tasks_succeeded
            if result
            else _count(tasks, "success"),
            tasks_failed=result.tasks_failed if result else _count(tasks, "failed"),
            tasks=tuple(order),
        )

    async def states(self, workflow: str) -> list[TaskRow]:
        """Return the task instances of a run as they stand now."""
        return await self._states(self._client.get_workflow_handle(workflow))

    async def cancel(self, workflow: str) -> None:
        """Ask a run to end now; its running tasks are stopped.

        Raises:
            DagError: it has ended.
        """
        handle = self._client.get_workflow_handle(workflow)
        await cancellation.cancel(handle, otherwise=f"{workflow} has ended already.")

    async def respond(self, workflow: str, response: Response) -> None:
        """Answer what a task asks. Raises: DagError: it does not ask that."""
        await hitl_client.respond(self._client, workflow, response)

    async def runs(self, dag_id: str) -> list[RunRow]:
        """Return the runs of a DAG, newest first."""
        kind = f"WorkflowType = '{messages.WORKFLOW}'"
        try:
            return await self._list(f"{kind} AND AirflowDagId = {_quoted(dag_id)}")
        except RPCError as err:
            if err.status != RPCStatusCode.INVALID_ARGUMENT:
                raise
        # A namespace that was not allowed to learn our search attributes knows the id alone.
        prefix = workflow_id(dag_id, "")
        return await self._list(f"{kind} AND WorkflowId STARTS_WITH {_quoted(prefix)}")

    async def find(self, dag_id: str, run_id: str) -> str:
        """Return the workflow id of a run, which is not ours for one started by hand in the UI.

        Raises:
            DagError: there is no such run.
        """
        name = workflow_id(dag_id, run_id)
        try:
            await self._client.get_workflow_handle(name).describe()
        except RPCError as err:
            for row in await self.runs(dag_id):
                if row.run_id == run_id:
                    return row.workflow_id
            raise _no_run(name, err) from err
        return name

    async def xcoms(self, workflow: str) -> list[dict[str, Any]]:
        """Return every XCom of a run as ``{task_id, map_index, key, value}``, references resolved.

        Raises:
            DagError: there is no such run.
        """
        handle = self._client.get_workflow_handle(workflow)
        try:
            return await self._xcoms.of(handle)
        except RPCError as err:
            raise _no_run(workflow, err) from err

    async def dags(self) -> Listing:
        """Return what a worker finds in the DAG folder."""
        body = await self._asker.ask(LIST_DAGS, None, dict[str, Any])
        return Listing(
            tuple(ListedDag(**row) for row in body["dags"]),
            tuple(FileError(**row) for row in body["errors"]),
        )

    async def prepare(self) -> None:
        """Prepare the namespace: retention and search attributes."""
        await prepare(self._client, self._config)

    async def probe(self) -> ProbeResult:
        """Say whether the server answers and a worker of ours polls it."""
        return await probe(self._client, self._config)

    async def _list(self, query: str) -> list[RunRow]:
        began: dict[str, datetime] = {}
        rows: list[RunRow] = []
        async for seen in self._client.list_workflows(query):
            if seen.status == WorkflowExecutionStatus.CONTINUED_AS_NEW:
                earlier = began.get(seen.id, seen.start_time)
                began[seen.id] = min(earlier, seen.start_time)
            else:
                rows.append(_run_row(seen))
        return [
            replace(row, start_date=_iso(began[row.workflow_id]))
            if row.workflow_id in began
            else row
            for row in rows
        ]

    async def _began(self, seen: WorkflowExecutionDescription) -> datetime:
        """Return when a run was started, also when it has been handed over since."""
        first = seen.raw_description.workflow_execution_info.first_run_id
        if first in ("", seen.run_id):
            return seen.start_time
        handle = self._client.get_workflow_handle(seen.id, run_id=first)
        try:
            return (await handle.describe()).start_time
        except RPCError:
            return seen.start_time  # The server keeps it no longer.

    async def _read(self, question: DagQuestion) -> DagAnswer:
        return await self._asker.ask(READ_DAG, question, DagAnswer)

    async def _states(
        self, handle: temporalio.client.WorkflowHandle[Any, Any]
    ) -> list[TaskRow]:
        try:
            rows: list[TaskRow] = await handle.query(
                messages.STATES_QUERY, result_type=list[TaskRow]
            )
        except (RPCError, temporalio.client.WorkflowQueryFailedError):
            return []  # no worker answers for it just now; the run itself is known
        return rows


def _names(
    seen: WorkflowExecution, result: DagExecutionResult | None
) -> tuple[str, str]:
    """Return DAG id and run id, from the surest source there is."""
    if result is not None:
        return result.dag_id, result.run_id
    found = seen.typed_search_attributes
    return found.get(search_attributes.DAG_ID, ""), found.get(
        search_attributes.RUN_ID, seen.id.removeprefix("dag-")
    )


def _run_row(seen: WorkflowExecution) -> RunRow:
    found = seen.typed_search_attributes
    date = found.get(search_attributes.LOGICAL_DATE)
    return RunRow(
        run_id=found.get(search_attributes.RUN_ID, seen.id),
        run_type=found.get(search_attributes.RUN_TYPE, "manual"),
        state=_live_state(seen),
        logical_date=_iso(date),
        start_date=_iso(seen.start_time),
        end_date=_iso(seen.close_time),
        workflow_id=seen.id,
    )


def _state(seen: WorkflowExecution) -> str:
    return _STATES.get(seen.status, "failed") if seen.status else "running"


def _live_state(seen: WorkflowExecution) -> str:
    """Return the state of a run, that of one which waits for others included."""
    state = _state(seen)
    said = seen.typed_search_attributes.get(search_attributes.STATE)
    return said if state == "running" and said == "queued" else state


def _count(tasks: Iterable[TaskRow], state: str) -> int:
    return sum(row.state == state for row in tasks)


def _iso(time: datetime | None) -> str | None:
    return time.isoformat() if time else None


def _seconds(start: str | None, end: str | None) -> float | None:
    if start is None or end is None:
        return None
    passed = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    return round(passed.total_seconds(), 3)


def _no_run(workflow: str, err: RPCError) -> Exception:
    if err.status == RPCStatusCode.NOT_FOUND:
        return DagError(
            f"{workflow}: there is no such run, or its history is past retention. "
            "Look at `appliance runs list DAG_ID`."
        )
    return err


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
