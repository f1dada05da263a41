"""A Temporal server with our worker behind it, as the command line sees them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from appliance.backfills.messages import BackfillProgress, BackfillRequest, PlannedRun
from appliance.config.model import Config
from appliance.dagfile.models import Listing
from appliance.dagrun.timing import ScheduledRun
from appliance.errors import DagError, TemporalUnreachable, WaitTimeout
from appliance.runs.messages import Response
from appliance.runs.reports import RunReport, RunRow
from appliance.schedules.messages import ScheduleList, ScheduleRow, Verb
from appliance.sockets.submit_request import SubmitRequest, Submitted
from appliance.temporal.health import PartHealth, ProbeResult
from appliance.temporal.messages import TaskRow

RUN_ID = "manual__2026-01-31T09:00:00+00:00"
URL = "http://localhost:8233/namespaces/default/workflows/x"


class FakeBackfills:
    """Starts nothing, and tells the progress it is given."""

    def __init__(self) -> None:
        self.asked: list[BackfillRequest] = []
        self.cancelled: list[str] = []
        self.planned: list[PlannedRun] = []
        self.progress: list[BackfillProgress] = []

    async def plan(self, request: BackfillRequest, /) -> list[PlannedRun]:
        self.asked.append(request)
        return self.planned

    async def start(self, request: BackfillRequest, /) -> str:
        self.asked.append(request)
        return f"airflow-backfill-{request.dag_id}"

    async def watch(
        self, dag_id: str, show: Callable[[BackfillProgress], None], /
    ) -> BackfillProgress:
        for progress in self.progress:
            show(progress)
        return self.progress[-1]

    async def cancel(self, dag_id: str, /) -> None:
        self.cancelled.append(dag_id)


class FakeServer:
    """Knows one DAG, ``my_dag``; every run of it goes through ``story`` and then stays as its last report."""

    def __init__(self, *, story: tuple[RunReport, ...] = ()) -> None:
        self.requests: list[SubmitRequest] = []
        self.cancelled: list[str] = []
        self.responses: list[tuple[str, Response]] = []
        self.story = list(story or (ended("success"),))
        self.is_up = True
        self.never_ends = False
        self.ended = asyncio.Event()
        self.waited_s: float | None = None
        self.listing = Listing()
        self.found_runs: list[RunRow] = []
        self.found_xcoms: list[dict[str, Any]] = []
        self.known_schedules = ScheduleList([])
        self.steered: list[tuple[str, tuple[str, ...], dict[str, Any] | None]] = []
        self.backfills = FakeBackfills()
        self.health = ProbeResult(PartHealth(ok=True), PartHealth(ok=True))

    @asynccontextmanager
    async def connect(
        self, config: Config, *, wait_s: float
    ) -> AsyncIterator["FakeServer"]:
        if not self.is_up:
            raise TemporalUnreachable("Temporal at 127.0.0.1:7233 does not answer.")
        self.waited_s = wait_s
        self.ended = asyncio.Event()
        if len(self.story) == 1 and not self.never_ends:
            self.ended.set()
        yield self

    async def submit(self, request: SubmitRequest, /) -> Submitted:
        self.requests.append(request)
        if request.dag_id != "my_dag":
            raise DagError(
                f"No DAG {request.dag_id!r} in dags/. Did you mean 'my_dag'?"
            )
        run_id = request.run_id or RUN_ID
        return Submitted("my_dag", run_id, f"dag-my_dag-{run_id}", URL)

    async def result(
        self, workflow_id: str, /, *, timeout_s: float | None
    ) -> RunReport:
        try:
            async with asyncio.timeout(timeout_s):
                await self.ended.wait()
        except TimeoutError as err:
            raise WaitTimeout("too late") from err
        return self.story[0]

    async def report(self, workflow_id: str, /) -> RunReport:
        if len(self.story) == 1:
            return self.story[0]
        report = self.story.pop(0)
        if len(self.story) == 1 and not self.never_ends:
            self.ended.set()
        return report

    async def cancel(self, workflow_id: str, /) -> None:
        self.cancelled.append(workflow_id)

    async def respond(self, workflow_id: str, response: Response, /) -> None:
        self.responses.append((workflow_id, response))

    async def find(self, dag_id: str, run_id: str, /) -> str:
        if dag_id != "my_dag":
            raise DagError(f"No run {run_id} of {dag_id}.")
        return f"dag-{dag_id}-{run_id}"

    async def runs(self, dag_id: str, /) -> list[RunRow]:
        return self.found_runs

    async def xcoms(self, workflow_id: str, /) -> list[dict[str, Any]]:
        return self.found_xcoms

    async def dags(self) -> Listing:
        return self.listing

    @property
    def scheduling(self) -> "FakeServer":
        return self

    async def schedules(self) -> ScheduleList:
        return self.known_schedules

    async def steer(
        self, verb: Verb, names: Sequence[str], conf: dict[str, Any] | None = None, /
    ) -> dict[str, str]:
        self.steered.append((verb, tuple(names), conf))
        known = {row.name for row in self.known_schedules.rows}
        if unknown := [name for name in names if name not in known]:
            raise DagError(f"there is no schedule {unknown[0]!r}")
        return dict.fromkeys(names, RUN_ID) if verb == "trigger" else {}

    async def coming(self, row: ScheduleRow, number: int, /) -> list[ScheduledRun]:
        date = "2026-02-01T00:00:00+00:00"
        return [ScheduledRun(date, f"scheduled__{date}", date, date)] * number

    async def prepare(self) -> None:
        """Nothing to prepare."""

    async def probe(self) -> ProbeResult:
        return self.health


def ended(state: str, *tasks: TaskRow) -> RunReport:
    """Build the report of a run that has ended."""
    return RunReport(
        dag_id="my_dag",
        run_id=RUN_ID,
        workflow_id=f"dag-my_dag-{RUN_ID}",
        state=state,
        start_date="2026-01-31T09:00:00+00:00",
        end_date="2026-01-31T09:00:02.500000+00:00",
        duration_s=2.5,
        url=URL,
        tasks_succeeded=sum(task.state == "success" for task in tasks),
        tasks_failed=sum(task.state == "failed" for task in tasks),
        tasks=tasks,
    )


def running(*tasks: TaskRow) -> RunReport:
    """Build the report of a run that goes on."""
    return replace(ended("running", *tasks), end_date=None, duration_s=None)
