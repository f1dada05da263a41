"""What the commands reach: the configuration, and the runs on the server."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from appliance.errors import TemporalUnreachable

if TYPE_CHECKING:  # Each costs more to import than --help may take.
    from appliance.backfills.messages import (
        BackfillProgress,
        BackfillRequest,
        PlannedRun,
    )
    from appliance.config.model import Config
    from appliance.dagfile.models import Listing
    from appliance.dagrun.timing import ScheduledRun
    from appliance.runs.messages import Response
    from appliance.runs.reports import RunReport, RunRow
    from appliance.schedules.messages import ScheduleList, ScheduleRow, Verb
    from appliance.sockets.submit_request import SubmitRequest, Submitted
    from appliance.temporal.health import ProbeResult

T = TypeVar("T")

START_S = 30.0
"""How long ``submit`` waits for a box that is still starting."""

GLANCE_S = 5.0
"""How long a command that only looks waits for the server."""


class Scheduling(Protocol):
    """What the commands ask of the scheduler."""

    async def schedules(self) -> "ScheduleList":
        """List all schedules."""

    async def steer(
        self, verb: "Verb", names: Sequence[str], conf: dict[str, Any] | None = None, /
    ) -> dict[str, str]:
        """Pause, resume or trigger schedules; run ids by name. Raises: DagError."""

    async def coming(self, row: "ScheduleRow", number: int, /) -> "list[ScheduledRun]":
        """List the next runs of a schedule. Raises: DagError."""


class Backfills(Protocol):
    """What the commands ask of backfills."""

    async def plan(self, request: "BackfillRequest", /) -> "list[PlannedRun]":
        """List the runs one would make. Raises: DagError."""

    async def start(self, request: "BackfillRequest", /) -> str:
        """Start one; return its workflow id. Raises: DagError."""

    async def watch(
        self, dag_id: str, show: "Callable[[BackfillProgress], None]", /
    ) -> "BackfillProgress":
        """Show progress until the end. Raises: DagError."""

    async def cancel(self, dag_id: str, /) -> None:
        """End one. Raises: DagError."""


class Server(Protocol):
    """What the commands ask of ``appliance.runs.client.Client``; tests have a fake."""

    async def submit(self, request: "SubmitRequest", /) -> "Submitted":
        """Check the DAG and start a run."""

    async def result(
        self, workflow_id: str, /, *, timeout_s: float | None
    ) -> "RunReport":
        """Wait for the end of a run. Raises: WaitTimeout."""

    async def report(self, workflow_id: str, /) -> "RunReport":
        """Say how a run is now. Raises: DagError when there is none."""

    async def cancel(self, workflow_id: str, /) -> None:
        """Ask a run to end."""

    async def respond(self, workflow_id: str, response: "Response", /) -> None:
        """Answer what a task asks. Raises: DagError when it does not ask that."""

    async def find(self, dag_id: str, run_id: str, /) -> str:
        """Return the workflow id of a run. Raises: DagError when there is none."""

    async def runs(self, dag_id: str, /) -> "list[RunRow]":
        """List the runs of a DAG."""

    async def xcoms(self, workflow_id: str, /) -> list[dict[str, Any]]:
        """List the XComs of a run."""

    async def dags(self) -> "Listing":
        """List the DAG folder, as a worker reads it."""

    @property
    def scheduling(self) -> "Scheduling":
        """The scheduler."""

    @property
    def backfills(self) -> "Backfills":
        """The backfills."""

    async def prepare(self) -> None:
        """Prepare the namespace."""

    async def probe(self) -> "ProbeResult":
        """Say whether server and worker answer."""


class Connect(Protocol):
    """Opens a connection. Raises: TemporalUnreachable after ``wait_s``."""

    def __call__(
        self, config: "Config", *, wait_s: float
    ) -> AbstractAsyncContextManager[Server]:
        """Open it."""


def load_config() -> "Config":
    """Read the configuration this process is told to use. Raises: ConfigError."""
    import os
    from pathlib import Path

    from appliance.config.load import load

    return load(os.environ, cwd=Path.cwd())


def running_config() -> "Config | None":
    """Read what the appliance that is up here was told, whatever its file says since."""
    import os
    from pathlib import Path

    from appliance.boot.run_folder import holder, run_folder
    from appliance.config.load import data_folder, load
    from appliance.config.settings_of_start import saved_settings

    data = data_folder(os.environ, cwd=Path.cwd())
    if holder(data) is None:
        return None
    settings = saved_settings(run_folder(data))
    if settings is None:
        return None
    return load(os.environ, cwd=Path.cwd(), in_force=settings)


def connect_client(
    config: "Config", *, wait_s: float
) -> AbstractAsyncContextManager[Server]:
    """Connect to the configured server. What that imports takes a second; it is imported at once.

    Raises:
        TemporalUnreachable: it does not answer; says so if nothing is up here that could.
    """
    from appliance.runs.client import connect

    return _told_what_is_up(connect(config, wait_s=wait_s), config)


@asynccontextmanager
async def _told_what_is_up(
    connection: AbstractAsyncContextManager[Server], config: "Config"
) -> AsyncIterator[Server]:
    try:
        async with connection as server:
            yield server
    except TemporalUnreachable as err:
        raise _nothing_up(config) or err from err


def _nothing_up(config: "Config") -> TemporalUnreachable | None:
    import os

    from appliance.boot.run_folder import holder

    if config.temporal.address or holder(config.data) is not None:
        return None
    if "APPLIANCE_IMAGE" in os.environ:
        return TemporalUnreachable(
            "Nothing runs in this container: give the command to the container that "
            "runs the appliance, as in `docker exec NAME appliance dags list`."
        )
    return TemporalUnreachable(
        f"No appliance is up on the data folder {config.data}: start it with `make up`."
    )


@dataclass(frozen=True, slots=True)
class CommandContext:
    """Where commands get the configuration and the server from; tests put others in."""

    load: Callable[[], "Config"] = load_config
    connect: Connect = connect_client
    running: Callable[[], "Config | None"] = running_config

    def settings(self) -> "Config":
        """Return what is in force on this box, connections and variables left aside.

        Raises:
            ConfigError: nothing is up here, and the configuration is wrong.
        """
        return self.running() or self.load()

    def ask(self, work: Callable[[Server], Awaitable[T]]) -> T:
        """Do ``work`` on a connection that must come about quickly."""
        import asyncio

        config = self.settings()

        async def connected() -> T:
            async with self.connect(config, wait_s=GLANCE_S) as server:
                return await work(server)

        return asyncio.run(connected())


pass_context = click.make_pass_decorator(CommandContext, ensure=True)
