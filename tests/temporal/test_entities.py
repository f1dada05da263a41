"""The workflows that stand for DAGs and pools: who waits for nobody costs nothing, and what is in force now counts."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.worker import Worker

from appliance.active_runs.activities import ActiveRunsActivities
from appliance.active_runs.client import ActiveRunsClient, dag_workflow_id
from appliance.active_runs.messages import ENTER_UPDATE, RunAnnouncement
from appliance.active_runs.workflow import AirflowDag
from appliance.config.model import Config, Pool
from appliance.dagrun.run_record import RunRecord
from appliance.pools.activities import PoolActivities, pool_workflow_id
from appliance.pools.messages import SlotRequest
from appliance.pools.model import SlotLease
from appliance.pools.workflow import AirflowPool
from appliance.worker.entity_recovery import EntityRecovery
from tests.temporal.servers import serving

pytestmark = [
    pytest.mark.needs_server,
    pytest.mark.timeout(60),
    pytest.mark.asyncio(loop_scope="module"),
]


def config(**pools: int) -> Config:
    known = {name: Pool(slots) for name, slots in pools.items()}
    return Config(file=Path("appliance.yaml"), data=Path("data"), pools=known)


def entry(dag_id: str, run_id: str, limit: int) -> RunAnnouncement:
    card = RunRecord(run_id, f"dag-{dag_id}-{run_id}", "manual", run_after="2026")
    return RunAnnouncement(dag_id, card, limit)


class Standing:
    """A server with a worker, and who asks through it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.pools = PoolActivities(client, config())
        self.registry = ActiveRunsClient(client, config().temporal.task_queue)

    async def wants(self, pool: str, task: str, *, known: int) -> bool:
        lease = SlotLease(f"run/{task}", "dag-d-run", task, -1)
        return await self.pools.want_slots(SlotRequest(pool, lease, known))

    async def announces(self, dag_id: str, run_id: str, *, limit: int) -> bool:
        return await self.registry.enter(entry(dag_id, run_id, limit))

    async def looks(self, name: str) -> int:
        """Return how often the workflow had others looked at."""
        history = await self.client.get_workflow_handle(name).fetch_history()
        return sum(
            event.HasField("activity_task_scheduled_event_attributes")
            for event in history.events
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def standing() -> AsyncIterator[Standing]:
    async with serving() as client:
        found = Standing(client)
        clerk = ActiveRunsActivities(found.registry, lambda _: True)
        activities: list[Any] = [
            *clerk.activities,
            EntityRecovery(found.client).rebuild,
            *found.pools.activities,
        ]
        async with Worker(
            found.client,
            task_queue=config().temporal.task_queue,
            workflows=[AirflowDag, AirflowPool],
            activities=activities,
        ):
            yield found


async def test_who_waits_for_slots_that_nobody_has_costs_nothing(
    standing: Standing,
) -> None:
    for task in ("a", "b"):
        assert not await standing.wants("closed", task, known=0)

    assert await standing.looks(pool_workflow_id("closed")) == 0


async def test_runs_that_wait_where_none_may_run_cost_nothing(
    standing: Standing,
) -> None:
    for run_id in ("a", "b"):
        assert not await standing.announces("closed", run_id, limit=0)

    assert await standing.looks(dag_workflow_id("closed")) == 0


async def test_a_run_may_begin_at_once_where_the_next_one_brings_room(
    standing: Standing,
) -> None:
    """Of runs that are announced together."""
    assert not await standing.announces("grows", "a", limit=0)

    handle = standing.client.get_workflow_handle(dag_workflow_id("grows"))
    told = await handle.execute_update(
        ENTER_UPDATE,
        [entry("grows", "b", 0), entry("grows", "c", 3)],
        result_type=list[bool],
    )

    assert told == [True, True]


async def test_a_pool_has_the_slots_of_the_configuration_in_force(
    standing: Standing,
) -> None:
    standing.pools.reconfigure(config(mine=1))

    assert await standing.wants("mine", "a", known=9)
    assert not await standing.wants("mine", "b", known=9)
    standing.pools.reconfigure(config(mine=2))
    assert await standing.wants("mine", "b", known=9)


async def test_a_pool_that_is_not_configured_has_what_its_runs_say(
    standing: Standing,
) -> None:
    limit = "d.t: max_active_tis_per_dag"

    assert await standing.wants(limit, "a", known=1)
    assert not await standing.wants(limit, "b", known=1)
