"""Records the histories that ``test_a_recorded_run_can_be_replayed`` replays: ``python -m tests.temporal.record``.

Record anew only when a change of the workflow that is not versioned is meant, and say so in CHANGELOG.
"""

import asyncio
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

from temporalio.client import Client

from tests.box import RunningBox, running_box
from tests.faults.processes import the_one
from tests.faults.test_faults import DAGS as GATED
from tests.faults.test_faults import WORKER, Run

ROOT = Path(__file__).parents[2]
DAGS = Path(__file__).parent / "dags"
HISTORIES = Path(__file__).parents[1] / "histories"
SHAPES = (
    "passes_values",
    "retries_once",
    "fails",
    "branches",
    "skips",
    "fails_fast",
    "times_out",
    "reschedules",
    "maps",
    "pushes_much",
    "waits",
)


def main() -> None:
    """Run each shape once, lose a worker and cancel a run; write their histories."""
    HISTORIES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running_box(dags=DAGS, folder=folder) as box:
            for dag_id in SHAPES:
                box.submit(dag_id, "--run-id", "recorded", "--wait")
                _save(box, dag_id, f"dag-{dag_id}-recorded")
            box.submit("keeps_values", "--wait")
            _save(box, "vault", "variables-airflow-tasks")
        with running_box(dags=GATED, folder=folder) as box:
            (folder / "lost").mkdir()
            lost = Run(box, "gated", folder / "lost", "waits")
            os.kill(the_one(box.process.pid, WORKER), signal.SIGKILL)
            lost.let_go()
            lost.end()
            _save(box, "lost_worker", f"dag-gated-{lost.run_id}")
            (folder / "cancel").mkdir()
            cancelled = Run(box, "gated", folder / "cancel", "waits")
            box.appliance("cancel", "gated", cancelled.run_id)
            cancelled.end()
            _save(box, "cancelled", f"dag-gated-{cancelled.run_id}")


def _save(box: RunningBox, name: str, workflow_id: str) -> None:
    async def fetch() -> str:
        client = await Client.connect(f"127.0.0.1:{box.environ['APPLIANCE_PORT']}")
        history = await client.get_workflow_handle(workflow_id).fetch_history()
        return history.to_json()

    text = asyncio.run(fetch())
    for here, anywhere in (
        (str(ROOT), "/app"),
        (sys.prefix, "/venv"),
        (sys.base_prefix, "/python"),
        (socket.gethostname(), "box"),
    ):
        text = text.replace(here, anywhere)
    (HISTORIES / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
