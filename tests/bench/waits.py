"""What many deferred waits take: memory of the triggerer, and how late each goes on.

All wait at once, then each ends at a moment of its own. How late that is known, is by the server's account.
"""

import asyncio
import json
import math
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client, WorkflowFailureError

from appliance.runs.messages import TRIGGER_ACTIVITY
from tests.bench.memory import pss_mb, tree
from tests.bench.runs import address, submit
from tests.box import RunningBox

TRIGGERER = "appliance triggerer"
MOST_OF_A_RUN = 500
SPREAD_S = 60.0
NOTICE_S = 10.0
"""Between the file that tells the moments and the first of them; more than a trigger's pause between looks."""
PATIENCE_S = 1800.0


@dataclass(frozen=True, slots=True)
class Waits:
    """What so many waits took; NaN for what was not measured."""

    count: int = 0
    triggerer_mb: float = math.nan
    box_mb: float = math.nan
    """Of the whole appliance, while all wait."""
    late_s: float = math.nan
    """At the median."""
    ninth_late_s: float = math.nan
    """Nine of ten are not later."""


async def measure(box: RunningBox, folder: Path, waits: int) -> Waits:
    """Have that many waits, look at the memory, end them one by one.

    Args:
        box: Has the DAG ``bench_waits``, and has run nothing yet.
        folder: For the files that tell the waits their moments.
        waits: How many.
    """
    client = await Client.connect(address(box))
    counts = [MOST_OF_A_RUN] * (waits // MOST_OF_A_RUN)
    counts += [waits % MOST_OF_A_RUN] if waits % MOST_OF_A_RUN else []
    gates = [folder / f"gate{number}" for number in range(len(counts))]
    runs = [
        _submit(box, gate, count) for gate, count in zip(gates, counts, strict=True)
    ]
    began = time.monotonic()
    while (number := await _waiting(client, runs)) < waits:
        assert time.monotonic() < began + PATIENCE_S, f"{number} of {waits} wait"
        await asyncio.sleep(5)
    sys.stderr.write(f"{waits} waits began in {time.monotonic() - began:.0f} s\n")
    await asyncio.sleep(NOTICE_S)
    pid = next(pid for pid in tree(box.process.pid) if _is_triggerer(pid))
    triggerer_mb, box_mb = pss_mb([pid]), pss_mb([box.process.pid])
    _tell_moments(gates, counts, step=SPREAD_S / waits)
    try:
        for run in runs:
            await client.get_workflow_handle(run).result()
    except WorkflowFailureError:
        sys.stderr.write(box.output())
        raise
    late = [
        late_s
        for run, gate in zip(runs, gates, strict=True)
        async for late_s in _lateness(client, run, json.loads(gate.read_text()))
    ]
    assert len(late) == waits, f"{len(late)} of {waits} ends are known"
    ninth_late_s = quantiles(late, n=10)[-1]
    return Waits(waits, triggerer_mb, box_mb, median(late), ninth_late_s)


def _submit(box: RunningBox, gate: Path, count: int) -> str:
    conf = json.dumps({"path": str(gate), "count": count})
    return submit(box, "bench_waits", "--conf", conf)[0]


def _tell_moments(gates: list[Path], counts: list[int], step: float) -> None:
    """Let the waits of all runs end one after the other, ``step`` seconds apart."""
    first = time.time() + NOTICE_S
    told_of = 0
    for gate, count in zip(gates, counts, strict=True):
        new = gate.with_suffix(".new")
        new.write_text(json.dumps({"first": first + step * told_of, "step": step}))
        new.rename(gate)
        told_of += count


async def _waiting(client: Client, runs: list[str]) -> int:
    """Return how many waits a worker has in hand."""
    found = 0
    for run in runs:
        seen = await client.get_workflow_handle(run).describe()
        for pending in seen.raw_description.pending_activities:
            is_begun = pending.HasField("last_started_time")
            found += pending.activity_type.name == TRIGGER_ACTIVITY and is_begun
    sys.stderr.write(f"{found} waits\n")
    return found


def _is_triggerer(pid: int) -> bool:
    try:
        return TRIGGERER.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return False


async def _lateness(
    client: Client, run: str, told: dict[str, float]
) -> AsyncIterator[float]:
    """Yield how much after its moment the server was told of each wait's end."""
    moments: dict[int, float] = {}
    async for event in _history(client, run):
        if event.event_id == 1:
            moments = {}  # Of another workflow run, whose numbers begin anew.
        scheduled = event.activity_task_scheduled_event_attributes
        if scheduled.activity_type.name == TRIGGER_ACTIVITY:
            number = json.loads(scheduled.input.payloads[0].data)["map_index"]
            moments[event.event_id] = told["first"] + told["step"] * number
        ended = event.activity_task_completed_event_attributes
        if ended.scheduled_event_id in moments:
            at = event.event_time.seconds + event.event_time.nanos / 1e9
            yield at - moments.pop(ended.scheduled_event_id)


async def _history(client: Client, workflow: str) -> AsyncIterator[HistoryEvent]:
    """Yield the events of a run, which has gone on in a fresh workflow run if they were many."""
    seen = await client.get_workflow_handle(workflow).describe()
    run_id = seen.raw_description.workflow_execution_info.first_run_id
    while run_id:
        handle = client.get_workflow_handle(workflow, run_id=run_id)
        run_id = ""
        async for event in handle.fetch_history_events():
            following = event.workflow_execution_continued_as_new_event_attributes
            run_id = following.new_execution_run_id or run_id
            yield event
