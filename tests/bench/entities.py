"""What it costs that runs know of each other: slots of a pool, turns of a DAG's runs, and the telling of both."""

import time
from dataclasses import dataclass
from statistics import median

from temporalio.client import Client, WorkflowHandle

from appliance.config.model import TemporalSettings
from appliance.dagrun.roster import RunCard
from appliance.dagrun.states import RunState
from appliance.temporal import messages
from appliance.temporal.messages import Closing, DagExecutionInput, Entry
from appliance.temporal.worker.registry import Registry

QUEUED_RUNS = 20
_TOLD_RUNS = 50
_QUEUE = TemporalSettings().task_queue


@dataclass(slots=True)
class Costs:
    """Medians, of runs of one empty task unless a chain is named; NaN for what was not measured."""

    pooled_ms: float = float("nan")
    """A task of a chain, each with a slot of a pool."""
    pooled_events: float = float("nan")
    plain_events: float = float("nan")
    alone_ms: float = float("nan")
    queued_ms: float = float("nan")
    """From the end of a run to that of the next, which waited for its turn."""
    announce_ms: float = float("nan")
    close_ms: float = float("nan")


async def alone_ms(client: Client, number: int, runs: int) -> float:
    """Return how long a run takes that need wait for no other."""
    took = []
    for run in range(runs):
        handle = await _started(client, f"alone-{number}-{run}")
        await handle.result()
        seen = await handle.describe()
        assert seen.close_time is not None
        took.append((seen.close_time - seen.start_time).total_seconds() * 1000)
    return median(took)


async def queued_ms(client: Client, number: int) -> float:
    """Return how long after another a run ends, when all are started at once and only one may run."""
    names = [f"queued-{number}-{run}" for run in range(QUEUED_RUNS)]
    handles = [await _started(client, name) for name in names]
    ends = []
    for handle in handles:
        await handle.result()
        seen = await handle.describe()
        assert seen.close_time is not None
        ends.append(seen.close_time.timestamp())
    return (max(ends) - min(ends)) / (len(ends) - 1) * 1000


async def told_ms(client: Client, number: int) -> tuple[float, float]:
    """Return how long it takes to announce a run to its DAG, and to tell how it ended."""
    registry = Registry(client, _QUEUE)
    announcing, closing = [], []
    for run in range(_TOLD_RUNS):
        name = f"told-{number}-{run}"
        card = RunCard(name, f"dag-{name}", "manual", "2026-01-01T00:00:00+00:00")
        began = time.perf_counter()
        assert await registry.enter(Entry("bench_told", card, _TOLD_RUNS))
        entered = time.perf_counter()
        ended = RunCard(
            name, card.workflow_id, "manual", card.run_after, state=RunState.SUCCESS
        )
        await registry.close(Closing("bench_told", ended))
        announcing.append(entered - began)
        closing.append(time.perf_counter() - entered)
    return median(announcing) * 1000, median(closing) * 1000


async def _started(client: Client, name: str) -> WorkflowHandle[object, object]:
    given = DagExecutionInput(dag_id="bench_in_turn", run_id=name)
    return await client.start_workflow(
        messages.WORKFLOW,
        given,
        id=f"dag-bench_in_turn-{name}",
        task_queue=_QUEUE,
    )
