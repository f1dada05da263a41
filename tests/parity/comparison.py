"""Whether the machine and Airflow's own scheduler take the same decisions, step by step."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from appliance.dagrun.plan import Plan
from tests.parity.client import OracleClient, oracle
from tests.parity.simulate import simulate
from tests.parity.specs import Spec, generate


@dataclass(frozen=True)
class Comparison:
    """How one spec compares."""

    spec: Spec
    refused: str = ""
    """Why Airflow takes no such DAG; there is nothing to compare then."""
    difference: str = ""
    """The first event or end that differs; empty if the whole traces are equal."""

    @property
    def is_same(self) -> bool:
        """Whether both decide alike."""
        return not self.refused and not self.difference


def compare(airflow: OracleClient, spec: Spec) -> Comparison:
    """Play one spec on both sides."""
    answer = airflow.ask({"spec": spec})
    if "refused" in answer:
        return Comparison(spec, refused=answer["refused"])
    plan = Plan.from_json(answer["plan"])
    ours = simulate(plan, spec.get("script", {}), **spec.get("options", {}))
    theirs = answer["trace"]
    if theirs["stalled"]:
        _fail_what_hangs(theirs)
    difference = _difference(_rounded(ours), _rounded(theirs))
    if not difference and Plan.from_json(plan.to_json()) != plan:
        difference = "the plan is written and read differently"
    return Comparison(spec, difference=difference)


def compare_many(
    home: Path, first_seed: int, count: int, *, size: int | None = None, oracles: int
) -> Iterator[Comparison]:
    """Compare the specs of consecutive seeds until ``count`` were compared, refused ones aside.

    Args:
        home: An empty folder.
        first_seed: Where to begin.
        count: How many.
        size: Tasks a spec; None for a few.
        oracles: How many Airflows at once.
    """
    with ExitStack() as stack:
        free: SimpleQueue[OracleClient] = SimpleQueue()
        for n in range(oracles):
            one_home = home / str(n)
            one_home.mkdir(parents=True)
            free.put(stack.enter_context(oracle(one_home)))

        def one(seed: int) -> Comparison:
            airflow = free.get()
            try:
                return compare(airflow, generate(seed, size=size))
            finally:
                free.put(airflow)

        pool = stack.enter_context(ThreadPoolExecutor(oracles))
        while count > 0:
            seeds = range(first_seed, first_seed + count)
            for comparison in pool.map(one, seeds):
                count -= not comparison.refused
                yield comparison
            first_seed = seeds.stop


def _difference(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    if ours == theirs:
        return ""
    pairs = zip(ours.pop("events"), theirs.pop("events"), strict=False)
    found = next((pair for pair in pairs if pair[0] != pair[1]), (ours, theirs))
    return f"here:    {json.dumps(found[0])}\nAirflow: {json.dumps(found[1])}"


def _rounded(trace: Mapping[str, Any]) -> dict[str, Any]:
    """Make two traces comparable: plain JSON, times to a tenth of a millisecond."""
    trace = json.loads(json.dumps(trace))
    for event in trace["events"]:
        for key in {"t", "retry_in"} & event.keys():
            event[key] = round(event[key], 4)
    return dict(trace)


def _fail_what_hangs(trace: dict[str, Any]) -> None:
    """Let a run end that Airflow leaves hanging: it looks for no deadlock among limited tasks."""
    at = trace["events"][-1]["t"] if trace["events"] else 0.0
    trace["events"].append({"t": at, "ev": "dag_run", "state": "failed"})
    trace |= {"dag_run": "failed", "stalled": False}
