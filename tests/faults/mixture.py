"""Kills a part of a box every few seconds while runs with pools, deferrals and a schedule are under way.

``python -m tests.faults.mixture LIVES [SEED]`` (``make test-mixture``) does it for as many lives of a box as one likes. What the
tasks wrote is the evidence: no try began twice, nothing that ended well was done twice, no pool was overrun, no run is missing.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from temporalio.client import Client, WorkflowFailureError

from tests.box import RunningBox
from tests.faults.accounts import counters
from tests.faults.killing import Campaign, main, say

DAG_IDS = ("mixed_pooled", "mixed_deferred", "mixed_mapped")
SCHEDULED = "mixed_scheduled"
INSTANCES = {"mixed_pooled": 3, "mixed_deferred": 2, "mixed_mapped": 3, SCHEDULED: 1}
"""Task instances per run that note what they do."""
SCHEDULED_RUNS = 11
"""Every ten seconds for a hundred, both ends included."""
CONFIG = """
dags: {schedules: active}
pools: {narrow: 2}
worker: {max_lost: 100}
"""
CAUGHT_UP_S = 60
KILL_EVERY_S = 5.0
RUNS = 50
RUN_ENDS_S = 300.0


@dataclass(slots=True)
class Mixture(Campaign):
    """Fifty runs of three DAGs, beside those that a schedule makes."""

    since: str = field(init=False)

    def __post_init__(self) -> None:
        """Begin the schedule a minute ago, so that it first catches up and then goes by the clock."""
        Campaign.__post_init__(self)
        since = int(time.time()) - CAUGHT_UP_S
        self.since = datetime.fromtimestamp(since, UTC).isoformat()
        (self.folder / "appliance.yaml").write_text(CONFIG)

    def environ(self) -> Mapping[str, str]:
        """Tell the DAG file where to count and when its schedule begins."""
        return {
            "APPLIANCE_CONF": str(self.folder / "appliance.yaml"),
            "COUNTED_IN": str(self.folder),
            "COUNTED_SINCE": self.since,
        }

    def pause(self) -> None:
        """Let the box alone between two kills."""
        time.sleep(KILL_EVERY_S)

    def submit(self, box: RunningBox) -> None:
        """Start the next of the runs, of each DAG in turn."""
        if len(self.submitted) < RUNS:
            self.start(box, DAG_IDS[len(self.submitted) % len(DAG_IDS)])

    async def judge(self, client: Client, box: RunningBox) -> list[str]:
        """Wait for the end of all runs and return what is wrong."""
        found = []
        runs = [*self.submitted, *await _scheduled(client)]
        for dag_id, run_id in runs:
            handle = client.get_workflow_handle(f"dag-{dag_id}-{run_id}")
            try:
                await asyncio.wait_for(handle.result(), RUN_ENDS_S)
            except TimeoutError:
                found.append(f"{dag_id} {run_id} does not end")
            except WorkflowFailureError as failure:
                found.append(f"{dag_id} {run_id} failed: {failure.cause}")
        return [*found, *self._counted(runs)]

    def _counted(self, runs: list[tuple[str, str]]) -> list[str]:
        lines = counters(self.folder)
        times = Counter(
            (what, *instance, number) for what, *instance, number, _pid in lines
        )
        found = [
            f"{' '.join(key)}: {n} times"
            for key, n in times.items()
            if n > 1 or key[0] == "overrun"
        ]
        expected = sum(INSTANCES[dag_id] for dag_id, _ in runs)
        done = Counter(tuple(line[1:5]) for line in lines if line[0] == "done")
        if len(done) != expected:
            found.append(f"{len(done)} task instances were done of {expected}")
        say(f"{len(done)} task instances done, by {len(times)} notes")
        say(f"{sum(n > 1 for n in done.values())} ended unheard and were run again")
        return found


async def _scheduled(client: Client) -> list[tuple[str, str]]:
    """Return the runs that the schedule made, once it has made them all."""
    query = f"WorkflowId STARTS_WITH 'dag-{SCHEDULED}-'"
    deadline = time.monotonic() + RUN_ENDS_S
    while True:
        made = {found.id async for found in client.list_workflows(query)}
        if len(made) >= SCHEDULED_RUNS:
            return [
                (SCHEDULED, name.removeprefix(f"dag-{SCHEDULED}-")) for name in made
            ]
        assert time.monotonic() < deadline, f"only {len(made)} scheduled runs"
        await asyncio.sleep(1)


if __name__ == "__main__":
    main(Mixture)
