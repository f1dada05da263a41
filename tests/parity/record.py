"""Records how Airflow ends the DAGs that are run for real: ``python -m tests.parity.record``.

Real tasks end in any order, so only DAGs are taken whose outcome does not hang on it. To be run again when the
generator or the version of Airflow changes.
"""

import json
import random
import tempfile
from pathlib import Path
from typing import Any

from appliance.dagrun.plan import Plan
from tests.parity.client import oracle
from tests.parity.simulate import simulate
from tests.parity.specs import Spec, generate, tamed

OUTCOMES = Path(__file__).with_name("outcomes.jsonl")
WANTED = 102
MOST_STARTS = 14
FEWEST_STARTS = 3
SHUFFLES = 20
DURATIONS_S = (0.05, 0.3, 1.0, 4.0)


def main() -> None:
    """Record until there are enough."""
    lines: list[str] = []
    with tempfile.TemporaryDirectory() as home, oracle(Path(home)) as airflow:
        seed = 0
        while len(lines) < WANTED:
            seed += 1
            spec = tamed(generate(seed))
            answer = airflow.ask({"spec": spec, "is_acted": True})
            if "refused" in answer or not is_worth_it(spec, answer):
                continue
            outcome = outcome_of(answer["trace"])
            lines.append(json.dumps({"seed": seed, **outcome}))
            print(f"{len(lines)} of {seed}", flush=True)
    OUTCOMES.write_text("\n".join(lines) + "\n")


def outcome_of(trace: dict[str, Any]) -> dict[str, Any]:
    """Return what of a trace the order of events must not change."""
    return {key: trace[key] for key in ("dag_run", "tis", "tries")}


def is_worth_it(spec: Spec, answer: dict[str, Any]) -> bool:
    """Tell whether a run starts enough tasks, not too many, and ends the same whatever takes longest."""
    starts = sum(len(e.get("tries", ())) for e in answer["trace"]["events"])
    if answer["trace"]["stalled"] or not FEWEST_STARTS <= starts <= MOST_STARTS:
        return False
    plan = Plan.from_json(answer["plan"])
    rng = random.Random(spec["dag_id"])  # noqa: S311
    outcome = outcome_of(answer["trace"])
    return all(_shuffled(plan, spec, rng) == outcome for _ in range(SHUFFLES))


def _shuffled(plan: Plan, spec: Spec, rng: random.Random) -> dict[str, Any]:
    names = {
        f"{task}{index}"
        for task in plan.tasks
        for index in ("", *(f"[{i}]" for i in range(40)))
    }
    script = {}
    for name in names:
        steps = spec["script"].get(name) or spec["script"].get(name.partition("[")[0])
        script[name] = [
            {**step, "dur": rng.choice(DURATIONS_S)} for step in steps or [{}]
        ]
    return outcome_of(simulate(plan, script, batch=rng.random() < 0.5))


if __name__ == "__main__":
    main()
