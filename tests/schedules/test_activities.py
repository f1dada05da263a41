"""What a worker does for schedules and backfills, on a real server: one run that cannot be started spoils no other."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment
from temporalio.worker import Worker

from appliance.active_runs.activities import ActiveRunsActivities
from appliance.active_runs.client import ActiveRunsClient
from appliance.active_runs.messages import RunEnd
from appliance.active_runs.workflow import AirflowDag
from appliance.config.model import Config, DiskSettings, TemporalSettings
from appliance.dagrun.run_record import RunRecord
from appliance.dagrun.states import RunState
from appliance.dagrun.timing import ScheduledRun
from appliance.schedules.activities import ScheduleActivities
from appliance.schedules.messages import RunName, RunOrder, RunOutcome
from appliance.worker.entity_recovery import EntityRecovery
from tests.temporal.servers import serving

pytestmark = [
    pytest.mark.needs_server,
    pytest.mark.timeout(60),
    pytest.mark.asyncio(loop_scope="module"),
]

QUEUE = "q"
AT = "2026-01-01T00:00:00+00:00"
STRICT = "limit.maxIDLength=150"


class Desk:
    """One worker's."""

    def __init__(self, client: Client, folder: Path) -> None:
        self.client = client
        self.registry = ActiveRunsClient(client, QUEUE)
        config = Config(
            folder / "a.yaml",
            folder,
            temporal=TemporalSettings(task_queue=QUEUE),
            disk=DiskSettings(floor_bytes=1),
        )

        async def nobody(_asked: Any) -> list[dict[str, Any]]:
            return []

        self.dispatch = ScheduleActivities(
            client, config, nobody, has_search_attributes=False
        )

    async def start(self, orders: list[RunOrder]) -> list[str | None]:
        found: list[str | None] = await ActivityEnvironment().run(
            self.dispatch.start_runs, orders
        )
        return found

    async def conf(self, name: str) -> Any:
        """Return what a run was given."""
        history = await self.client.get_workflow_handle(name).fetch_history()
        begun = history.events[0].workflow_execution_started_event_attributes
        (given,) = await self.client.data_converter.decode(begun.input.payloads)
        return given["conf"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Desk]:
    async with serving(STRICT) as client:
        made = Desk(client, tmp_path_factory.mktemp("dispatch"))
        clerk = ActiveRunsActivities(made.registry, lambda _: True)
        async with Worker(
            client,
            task_queue=QUEUE,
            workflows=[AirflowDag],
            activities=[*clerk.activities, EntityRecovery(client).rebuild],
        ):
            yield made


def order(run_id: str, conf: dict[str, Any] | None = None) -> RunOrder:
    return RunOrder("d", ScheduledRun(AT, run_id, AT, AT), conf=conf or {})


async def test_what_cannot_be_sent_is_told_and_the_others_are_started(
    desk: Desk,
) -> None:
    """Whether we see it, or the server does."""
    told = await desk.start(
        [
            order("refused by the server" * 10),
            order("refused here", {"x": "x" * 2_100_000}),
            order("r" * 2000),
            order("well"),
        ]
    )

    assert told[0] is not None
    assert told[0].startswith("Temporal does not take it: ")
    assert told[1] is not None
    assert "are 2.1 MB as JSON; Temporal takes 2 MB" in told[1]
    assert told[2] is not None
    assert "make a workflow id of 2006 bytes" in told[2]
    assert told[3] is None
    assert await desk.conf("dag-d-well") == {}


async def test_a_conf_that_is_told_once_is_given_to_each(desk: Desk) -> None:
    others = [replace(order(name), conf=None) for name in "bc"]
    assert await desk.start([order("a", {"x": 1}), *others]) == [None] * 3
    assert [await desk.conf(f"dag-d-{i}") for i in "abc"] == [{"x": 1}] * 3


async def test_a_run_whose_history_is_gone_ended_as_its_dag_remembers(
    desk: Desk,
) -> None:
    """And nobody knows how one ended that the DAG has forgotten, too."""
    for run_id, state in (("good", RunState.SUCCESS), ("bad", RunState.FAILED)):
        card = RunRecord(run_id, f"dag-gone-{run_id}", "scheduled", AT, state=state)
        await desk.registry.close(RunEnd("gone", card))
    names = [RunName("gone", run_id) for run_id in ("good", "bad", "forgotten")]
    seen: list[RunOutcome] = await ActivityEnvironment().run(
        desk.dispatch.find_ended_runs, names
    )

    assert [(one.is_known, one.is_success) for one in seen] == [
        (True, True),
        (True, False),
        (False, False),
    ]


async def test_of_very_many_runs_each_attempt_looks_at_others(desk: Desk) -> None:
    names = [RunName("never", str(number)) for number in range(1200)]
    seen: set[str] = set()
    for attempt in (1, 2, 3):
        environment = ActivityEnvironment()
        environment.info = environment.default_info()
        environment.info = type(environment.info)(
            **{**vars(environment.info), "attempt": attempt}
        )
        found: list[RunOutcome] = await environment.run(
            desk.dispatch.find_ended_runs, names
        )
        assert len(found) == 500
        seen.update(one.run.run_id for one in found)

    assert len(seen) == 1200
