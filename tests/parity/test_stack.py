"""Random DAGs run in a real appliance, all at once, and end as Airflow's scheduler ends them.

What Airflow does was recorded (``record.py``), because asking it takes longer than running them.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError

from tests.box import RunningBox, running_box
from tests.parity.client import oracle
from tests.parity.record import OUTCOMES, outcome_of
from tests.parity.simulate import LOGICAL_DATE, label
from tests.parity.specs import MAX_MAP_LENGTH, generate, tamed

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

RECORDED = [json.loads(line) for line in OUTCOMES.read_text().splitlines()]
ASKED_AGAIN = 5
DAG_FILE = """
from airflow.sdk import DAG
from tests.parity.acted import dags

globals().update(dags())
"""


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBox]:
    folder = tmp_path_factory.mktemp("stack")
    dags = folder / "dags"
    dags.mkdir()
    (dags / "random_dags.py").write_text(DAG_FILE)
    environ = {"AIRFLOW__CORE__MAX_MAP_LENGTH": str(MAX_MAP_LENGTH)}
    with running_box(dags=dags, folder=folder, environ=environ) as started:
        yield started


@pytest.mark.needs_server
def test_random_dags_end_in_the_appliance_as_on_airflow(box: RunningBox) -> None:
    async def run_all() -> list[dict[str, Any]]:
        client = await Client.connect(f"127.0.0.1:{box.environ['APPLIANCE_PORT']}")
        return list(await asyncio.gather(*(_outcome(client, row) for row in RECORDED)))

    found = asyncio.run(run_all())

    assert len(found) >= 100
    assert [row for row in found if row not in RECORDED] == []


async def _outcome(client: Client, row: dict[str, Any]) -> dict[str, Any]:
    dag_id = f"gen_{row['seed']}"
    handle = await client.start_workflow(
        "ExecuteAirflowDagWorkflow",
        {"dag_id": dag_id, "run_id": "parity", "logical_date": LOGICAL_DATE},
        id=f"dag-{dag_id}-parity",
        task_queue="airflow-tasks",
    )
    state = "failed"
    with suppress(WorkflowFailureError):
        state = (await handle.result())["state"]
    rows = await handle.query("task_states")
    instances = {label((r["task_id"], r["map_index"])): r for r in rows}
    return {
        "seed": row["seed"],
        "dag_run": state,
        "tis": {name: r["state"] for name, r in sorted(instances.items())},
        "tries": {name: r["try_number"] for name, r in sorted(instances.items())},
    }


@pytest.mark.needs_airflow
def test_what_was_recorded_is_what_airflow_says_now(tmp_path: Path) -> None:
    with oracle(tmp_path) as airflow:
        for row in RECORDED[:ASKED_AGAIN]:
            spec = tamed(generate(row["seed"]))
            trace = airflow.ask({"spec": spec, "is_acted": True})["trace"]

            assert {"seed": row["seed"], **outcome_of(trace)} == row
