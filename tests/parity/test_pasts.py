"""Random pasts: a task that depends on them may run exactly when Airflow's own dependency is met."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from appliance.active_runs.model import ActiveRuns
from appliance.dagrun.run_record import RunQuery, RunRecord
from appliance.past.model import PastTask, is_met
from tests.parity.client import OracleClient, oracle

pytestmark = [pytest.mark.long, pytest.mark.needs_airflow, pytest.mark.timeout(180)]

CASES = 60
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
"""Day 0, as in ``dags.py``."""
STATES = ("success", "skipped", "failed", "upstream_failed", "running", None)


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OracleClient]:
    with oracle(tmp_path_factory.mktemp("airflow")) as client:
        yield client


def case(seed: int) -> dict[str, Any]:
    rng = random.Random(seed)  # noqa: S311
    count = rng.randint(1, 4)
    start = rng.choice((None, rng.randrange(count)))

    def states(day: int) -> dict[str, str | None]:
        return {
            task_id: rng.choices(STATES, (10, 3, 1, 1, 1, 1))[0]
            for task_id in ("a", "b")
            if rng.random() < 0.8 and (task_id == "b" or day >= (start or 0))
        }

    return {
        "catchup": rng.random() < 0.5,
        "start": start,
        "flags": {
            "wait_for_downstream": rng.random() < 0.4,
            "ignore_first_depends_on_past": rng.random() < 0.4,
        },
        "runs": [
            {
                "type": rng.choice(("manual", "scheduled")),
                "states": states(day) if day < count - 1 else {"a": None, "b": None},
                "last": count - 1,
            }
            for day in range(count)
        ],
    }


def date(day: int) -> str:
    return (EPOCH + timedelta(days=day)).isoformat()


def ours(of: dict[str, Any]) -> bool:
    """Decide as a worker does that was asked what earlier runs owe."""
    roster = ActiveRuns()
    for day, run in enumerate(of["runs"]):
        card = RunRecord(str(day), str(day), run["type"], date(day), date(day))
        roster.announce(card, 99)
    states = [{t: [s] for t, s in run["states"].items()} for run in of["runs"]]
    now = len(of["runs"]) - 1
    question = RunQuery(
        before=date(now), is_dated=True, no_manual=of["catchup"], most=1
    )
    start = of["start"] if of["catchup"] else None
    task = PastTask(
        "a",
        ("b",) if of["flags"]["wait_for_downstream"] else (),
        of["flags"]["ignore_first_depends_on_past"],
        None if start is None else date(start),
    )
    for last in roster.find(question):
        previous = states[int(last.run_id)]
        return is_met(task, last.logical_date, previous, states[:now])
    return True


def test_random_pasts(airflow: OracleClient) -> None:
    differing = [
        seed
        for seed in range(CASES)
        if airflow.ask({"past": case(seed)})["is_met"] is not ours(case(seed))
    ]

    assert differing == []
