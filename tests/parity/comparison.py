"""Whether the machine and Airflow's own scheduler take the same decisions, step by step."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from appliance.dagrun.plan import Plan
from tests.parity import crowds
from tests.parity.client import OracleClient, oracle
from tests.parity.crowd import play
from tests.parity.crowds import Case
from tests.parity.simulate import simulate
from tests.parity.specs import Spec, generate

_Asking = Callable[[Callable[[OracleClient, int], Any], Iterable[int]], Iterator[Any]]


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


def compare_crowd(airflow: OracleClient, case: Case) -> str:
    """Play one case of several runs on both sides; return the first difference, or nothing."""
    answer = airflow.ask({"crowd": case})
    ours = play(case, answer["plans"], answer["dates"])
    return _crowd_difference(ours, answer["trace"])


def compare_crowds(
    home: Path, first_seed: int, count: int, *, oracles: int
) -> Iterator[str]:
    """Compare the cases of consecutive seeds; yield a text a case, empty if both sides do the same."""

    def one(airflow: OracleClient, seed: int) -> str:
        found = compare_crowd(airflow, crowds.generate(seed))
        return f"{seed} differs:\n{found}" if found else ""

    with _several(home, oracles) as ask:
        yield from ask(one, range(first_seed, first_seed + count))


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

    def one(airflow: OracleClient, seed: int) -> Comparison:
        return compare(airflow, generate(seed, size=size))

    with _several(home, oracles) as ask:
        while count > 0:
            seeds = range(first_seed, first_seed + count)
            for comparison in ask(one, seeds):
                count -= not comparison.refused
                yield comparison
            first_seed = seeds.stop


@contextmanager
def _several(home: Path, oracles: int) -> Iterator[_Asking]:
    """Start oracles; what is returned asks a free one about each seed, and yields the answers in that order."""
    with ExitStack() as stack:
        free: SimpleQueue[OracleClient] = SimpleQueue()
        for n in range(oracles):
            one_home = home / str(n)
            one_home.mkdir(parents=True)
            free.put(stack.enter_context(oracle(one_home)))
        pool = stack.enter_context(ThreadPoolExecutor(oracles))

        def ask(
            about: Callable[[OracleClient, int], Any], seeds: Iterable[int]
        ) -> Iterator[Any]:
            def one(seed: int) -> Any:
                airflow = free.get()
                try:
                    return about(airflow, seed)
                finally:
                    free.put(airflow)

            return pool.map(one, seeds)

        yield ask


def _crowd_difference(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    for what in ("events", "tis"):
        here, there = sorted(_plain(ours[what])), sorted(_plain(theirs[what]))
        if here != there:
            return _first_difference(here, there)
    return "" if ours["runs"] == theirs["runs"] else f"{ours['runs']} {theirs['runs']}"


def _plain(rows: Iterable[Sequence[Any]]) -> Iterator[list[str]]:
    for row in rows:
        at = f"{row[0]:012.4f}" if isinstance(row[0], float | int) else row[0]
        yield [at, *map(str, row[1:])]


def _first_difference(here: list[list[str]], there: list[list[str]]) -> str:
    pairs = zip([*here, []], [*there, []], strict=False)
    found = next(pair for pair in pairs if pair[0] != pair[1])
    return f"here:    {found[0]}\nAirflow: {found[1]}"


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
