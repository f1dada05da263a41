"""Workers that see different DAG folders: what changed last counts, and none speaks up for nothing."""

import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.worker import Worker

from appliance.active_runs.activities import ActiveRunsActivities
from appliance.active_runs.client import ActiveRunsClient
from appliance.config.model import Config, DagSettings
from appliance.dagfile.folder import DagFolder
from appliance.dagfile.models import ListedDag, Listing
from appliance.dagrun.timing import ScheduleDeclaration
from appliance.schedules.client import SchedulesClient, scheduler_id
from appliance.schedules.reconciler import Reconciler
from appliance.schedules.workflow import AirflowScheduler
from appliance.worker.entity_recovery import EntityRecovery
from tests.schedules.test_declarations import TIMING
from tests.temporal.servers import serving

pytestmark = [
    pytest.mark.needs_server,
    pytest.mark.timeout(60),
    pytest.mark.asyncio(loop_scope="module"),
]

CONFIG = Config(
    file=Path("a.yaml"), data=Path("data"), dags=DagSettings(schedules="paused")
)


class Folder:
    """A DAG folder with a DAG a name."""

    def __init__(self, *dag_ids: str) -> None:
        self.dag_ids = dag_ids

    async def version(self) -> str:
        return repr(self.dag_ids)

    async def listing(self, *, is_for_people: bool) -> Listing:
        assert not is_for_people
        return Listing(
            tuple(ListedDag(name, f"{name}.py", timing=TIMING) for name in self.dag_ids)
        )


class Box:
    """One worker; it works while the block is open."""

    def __init__(self, server: Client, queue: str, name: str, folder: Folder) -> None:
        settings = server.config()
        service = server.service_client
        config = service.config
        self.name, self.queue, self.folder = name, queue, folder
        self._address = config.target_host
        self._namespace = settings["namespace"]

    async def __aenter__(self) -> "Box":
        client = await Client.connect(
            self._address, namespace=self._namespace, identity=self.name
        )
        self.schedules = SchedulesClient(client, self.queue)
        clerk = ActiveRunsActivities(
            ActiveRunsClient(client, self.queue), lambda _: True
        )
        self._worker = Worker(
            client,
            task_queue=self.queue,
            workflows=[AirflowScheduler],
            activities=[*clerk.activities, EntityRecovery(client).rebuild],
        )
        await self._worker.__aenter__()

        async def folder() -> DagFolder:
            return cast(DagFolder, self.folder)

        self.reconciler = Reconciler(CONFIG, folder, self.schedules)
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._worker.__aexit__(*error)

    async def looks(self) -> None:
        """Look, long after the last time."""
        self.reconciler._passed_at = -math.inf
        await self.reconciler.look()

    async def known(self) -> list[str]:
        return sorted(await self.schedules.declared() or {})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Client]:
    async with serving() as client:
        yield client


@pytest.fixture
def queue(request: pytest.FixtureRequest) -> str:
    return str(request.node.name)


async def updates(server: Client, queue: str) -> int:
    history = await server.get_workflow_handle(scheduler_id(queue)).fetch_history()
    return sum(
        event.HasField("workflow_execution_update_accepted_event_attributes")
        for event in history.events
    )


async def test_workers_with_different_folders_do_not_undo_each_other(
    server: Client, queue: str
) -> None:
    """As while a new version is rolled out, in whatever order they look again."""
    old = Box(server, queue, "old", Folder("a", "b"))
    new = Box(server, queue, "new", Folder("b", "c"))
    async with old, new:
        await old.looks()
        assert await old.known() == ["a", "b"]
        await new.looks()
        told = await updates(server, queue)
        for _ in range(3):
            await old.looks()
            await new.looks()
        assert await old.known() == ["b", "c"]
        assert await updates(server, queue) == told

        old.folder.dag_ids = ("a", "b", "d")
        await old.looks()
        await new.looks()
        assert await new.known() == ["a", "b", "d"]


async def test_a_worker_without_schedules_says_nothing_again_and_again(
    server: Client, queue: str
) -> None:
    async with Box(server, queue, "empty", Folder()) as box:
        await box.looks()
        told = await updates(server, queue)
        for _ in range(3):
            await box.looks()

        assert await updates(server, queue) == told


async def test_a_scheduler_that_was_deleted_is_told_everything_again(
    server: Client, queue: str
) -> None:
    """Without a change here."""
    async with Box(server, queue, "box", Folder("a")) as box:
        await box.looks()
        handle = server.get_workflow_handle(scheduler_id(queue))
        await handle.terminate()
        await box.looks()
        assert await box.known() == ["a"]


async def test_what_a_worker_said_that_has_left_is_put_right(
    server: Client, queue: str
) -> None:
    """Once the server lists it no more; those that work know better."""
    async with Box(server, queue, "stays", Folder("a")) as box:
        await box.looks()
        left = await Client.connect(server.service_client.config.target_host)
        await SchedulesClient(left, queue).declare([], ["a"], [])
        gone = ScheduleDeclaration(
            "gone", "gone", {}, "@daily", "gone.py", is_paused=True
        )
        await SchedulesClient(left, queue).declare([gone], [], [])
        assert await box.known() == ["gone"]

        await box.looks()
        assert await box.known() == ["a"]
