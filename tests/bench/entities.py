"""What it costs that runs know of each other: slots of a pool, turns of a DAG's runs, and the telling of both."""

import math
import sys
import time
from dataclasses import dataclass, replace
from statistics import median

from temporalio.client import Client

from appliance.active_runs.client import ActiveRunsClient
from appliance.active_runs.messages import RunAnnouncement, RunEnd
from appliance.config.model import TemporalSettings
from appliance.dagrun.run_record import RunRecord
from appliance.dagrun.states import RunState
from appliance.temporal import messages
from appliance.temporal.messages import DagExecutionInput
from tests.bench.runs import CHAIN, address, run_s, start_and_end, submit
from tests.box import RunningBox

CONFIGURATION = "pools:\n  narrow: 1\n"
"""What ``bench_pooled`` needs."""
QUEUED_RUNS = 20
_ALONE_RUNS = 5
_TOLD_RUNS = 50
_QUEUE = TemporalSettings().task_queue


@dataclass(frozen=True, slots=True)
class Costs:
    """Medians, of runs of one empty task unless a chain is named; NaN for what was not measured."""

    pooled_ms: float = math.nan
    """A task of a chain, each with a slot of a pool."""
    plain_ms: float = math.nan
    """The same without a pool, on the same box and in turn with it."""
    pooled_events: float = math.nan
    plain_events: float = math.nan
    alone_ms: float = math.nan
    queued_ms: float = math.nan
    """From the end of a run to that of the next, which waited for its turn."""
    announce_ms: float = math.nan
    close_ms: float = math.nan


async def measure(box: RunningBox, runs: int) -> Costs:
    """Measure each thing once a round, so that a busy moment touches all of them."""
    client = await Client.connect(address(box))
    pooled, plain, alone, queued, announced, closed = [], [], [], [], [], []
    pooled_run = plain_run = ""
    for number in range(runs + 1):
        pooled_run, _ = submit(box, "bench_pooled")
        pooled.append(await run_s(client, pooled_run))
        plain_run, _ = submit(box, "bench_chain")
        plain.append(await run_s(client, plain_run))
        alone.append(await _alone_ms(client, number))
        queued.append(await _queued_ms(client, number))
        told = await _told_ms(client, number)
        announced.append(told[0])
        closed.append(told[1])
        sys.stderr.write(
            f"round {number}: pooled chain {pooled[-1]:.2f} s, plain {plain[-1]:.2f} s, "
            f"in turn {queued[-1]:.0f} ms a run\n"
        )
    # The first round warms everything up.
    return Costs(
        pooled_ms=median(pooled[1:]) / CHAIN * 1000,
        plain_ms=median(plain[1:]) / CHAIN * 1000,
        pooled_events=await _events(client, pooled_run) / CHAIN,
        plain_events=await _events(client, plain_run) / CHAIN,
        alone_ms=median(alone[1:]),
        queued_ms=median(queued[1:]),
        announce_ms=median(announced[1:]),
        close_ms=median(closed[1:]),
    )


async def _events(client: Client, workflow_id: str) -> int:
    """Return how long the history of a run is."""
    history = await client.get_workflow_handle(workflow_id).fetch_history()
    return len(history.events)


async def _alone_ms(client: Client, number: int) -> float:
    """Return how long a run takes that need wait for no other."""
    names = [f"alone-{number}-{run}" for run in range(_ALONE_RUNS)]
    took_s = [await run_s(client, await _start(client, name)) for name in names]
    return median(took_s) * 1000


async def _queued_ms(client: Client, number: int) -> float:
    """Return how long after another a run ends, when all are started at once and only one may run."""
    names = [f"queued-{number}-{run}" for run in range(QUEUED_RUNS)]
    started = [await _start(client, name) for name in names]
    ends = [(await start_and_end(client, run))[1] for run in started]
    return (max(ends) - min(ends)).total_seconds() / (len(ends) - 1) * 1000


async def _told_ms(client: Client, number: int) -> tuple[float, float]:
    """Return how long it takes to announce a run to its DAG, and to tell how it ended."""
    registry = ActiveRunsClient(client, _QUEUE)
    announcing, closing = [], []
    for run in range(_TOLD_RUNS):
        name = f"told-{number}-{run}"
        card = RunRecord(name, f"dag-{name}", "manual", "2026-01-01T00:00:00+00:00")
        began = time.perf_counter()
        assert await registry.enter(RunAnnouncement("bench_told", card, _TOLD_RUNS))
        entered = time.perf_counter()
        ended = replace(card, state=RunState.SUCCESS)
        await registry.close(RunEnd("bench_told", ended))
        announcing.append(entered - began)
        closing.append(time.perf_counter() - entered)
    return median(announcing) * 1000, median(closing) * 1000


async def _start(client: Client, name: str) -> str:
    """Start a run of a DAG whose runs take turns; return its workflow id."""
    given = DagExecutionInput(dag_id="bench_in_turn", run_id=name)
    workflow_id = f"dag-bench_in_turn-{name}"
    await client.start_workflow(
        messages.WORKFLOW, given, id=workflow_id, task_queue=_QUEUE
    )
    return workflow_id
