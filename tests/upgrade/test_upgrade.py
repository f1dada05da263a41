"""Runs, schedules, a backfill and pools that the last release has under way go on under this version."""

import asyncio
import json
import tarfile
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowExecutionStatus

from tests.box import RunningBox, ports, running_box
from tests.faults.processes import family, until

pytestmark = [
    pytest.mark.long,
    pytest.mark.needs_server,
    pytest.mark.timeout(400),
]

RELEASE = Path(__file__).parent / "appliance-0.1.0.tar.gz"
"""The code of the last release: ``git archive v0.1.0 appliance conf pyproject.toml``."""
DAGS = Path(__file__).parent / "dags"
CONFIG = """
dags: {schedules: active}
pools: {narrow: 2}
worker: {parallelism: 6, grace: 15s}
"""
SUBMITTED = {
    "mapped": 4,
    "waiting": 6,
    "pooled": 12,
    "queued": 10,
    "retried": 3,
    "remembers": 2,
    "deferred": 4,
    "asking": 1,
}
BACKFILL = (
    *("backfill", "backfilled", "--from", "2026-01-01", "--to", "2026-01-10"),
    *("--max-active-runs", "2", "--detach"),
)
BACKFILLED_RUNS = 10
SCHEDULED_RUNS = 13
PAUSED_RUNS = 3
"""So many at least are made before the schedule is paused, which would make one each five seconds."""
UNDER_WAY = {
    *("waiting", "pooled", "queued", "retried", "remembers"),
    *("deferred", "asking"),
}
"""DAGs with runs that have not ended when the release is stopped."""
BEFORE_S = 12.0
"""How long the release works before it is replaced."""
DEFERRED_S = 40.0
AT_ONCE = {"pooled": 2, "queued": 1, "backfilled": 2}
"""What a pool, a DAG and a backfill allow at once."""


def released(folder: Path) -> Path:
    """Return a folder with the code of the last release."""
    with tarfile.open(RELEASE) as archive:
        archive.extractall(folder, filter="data")
    return folder


def environ(folder: Path, since: datetime) -> Mapping[str, str]:
    (folder / "appliance.yaml").write_text(CONFIG)
    return {
        **ports(),
        "APPLIANCE_CONF": str(folder / "appliance.yaml"),
        "UPGRADE_FOLDER": str(folder),
        "UPGRADE_SINCE": since.isoformat(),
    }


async def submit_all(box: RunningBox) -> None:
    """Start runs of all kinds by hand, as a program of somebody's may."""
    client = await connect(box)
    later = datetime.now(UTC) + timedelta(seconds=DEFERRED_S)  # noqa: TID251
    for dag_id, count in SUBMITTED.items():
        for number in range(count):
            await client.start_workflow(
                "ExecuteAirflowDagWorkflow",
                {
                    "dag_id": dag_id,
                    "run_id": f"run-{number}",
                    "conf": {"until": later.isoformat()},
                },
                id=f"dag-{dag_id}-run-{number}",
                task_queue="airflow-tasks",
            )


async def connect(box: RunningBox) -> Client:
    return await Client.connect(f"127.0.0.1:{box.environ['APPLIANCE_PORT']}")


async def executions(
    box: RunningBox,
) -> list[tuple[str, WorkflowExecutionStatus | None]]:
    """Return workflow id and state of all runs; a run that goes on in a fresh workflow run is one."""
    client = await connect(box)
    query = "WorkflowType = 'ExecuteAirflowDagWorkflow'"
    rows = [row async for row in client.list_workflows(query)]
    ended = WorkflowExecutionStatus.CONTINUED_AS_NEW
    return [(row.id, row.status) for row in rows if row.status is not ended]


async def states(box: RunningBox) -> dict[str, WorkflowExecutionStatus | None]:
    """Return the states of all runs by workflow id."""
    return dict(await executions(box))


def schedule_state(box: RunningBox, name: str) -> Any:
    done = box.appliance("schedules", "list", "-o", "json")
    assert done.code == 0, done.stderr
    return {row["name"]: row["state"] for row in done.json}[name]


def has_the_old_code(box: RunningBox) -> bool:
    """Version 0.1 had its workers in a package that is no more."""
    zygotes = " ".join(family(box.process.pid).values())
    assert "appliance.warm.zygote" in zygotes or "forkserver.zygote" in zygotes
    return "appliance.warm.zygote" in zygotes


def notes(folder: Path) -> list[list[Any]]:
    return [json.loads(line) for line in (folder / "notes").read_text().splitlines()]


def most_at_once(rows: list[list[Any]]) -> int:
    """Return how many instances ran at once at most; a try that was lost counts until it is done again."""
    order = sorted((at, -1 if what == "done" else 1, key) for *key, what, at in rows)
    running: set[tuple[Any, ...]] = set()
    most = 0
    for _, step, key in order:
        (running.add if step > 0 else running.discard)(tuple(key))
        most = max(most, len(running))
    return most


def check_effects(rows: list[list[Any]], paused_runs: int) -> None:
    """Check that each task instance was done once, and how many were running at once."""
    finished = Counter(tuple(key) for *key, what, _ in rows if what == "done")
    assert {key for key, times in finished.items() if times > 1} == set()
    assert len(finished) == _notes_expected(paused_runs)
    failed = Counter(tuple(key) for *key, what, _ in rows if what == "fails")
    assert list(failed.values()) == [1] * SUBMITTED["retried"]
    for dag_id, most in AT_ONCE.items():
        assert most_at_once([row for row in rows if row[0] == dag_id]) <= most, dag_id


def test_everything_under_way_goes_on_after_an_upgrade(tmp_path: Path) -> None:
    since = datetime.fromtimestamp(int(time.time()) - 20, UTC)
    settings = environ(tmp_path, since)
    old = released(tmp_path / "released")
    with running_box(dags=DAGS, folder=tmp_path, environ=settings, code=old) as box:
        assert has_the_old_code(box)
        until("the paused one has run", lambda: len(_of(box, "paused")) >= PAUSED_RUNS)
        for words in (
            ("schedules", "pause", "paused"),
            ("schedules", "pause", "scheduled"),
            ("schedules", "resume", "scheduled"),
            BACKFILL,
        ):
            done = box.appliance(*words)
            assert done.code == 0, done.stderr
        asyncio.run(submit_all(box))
        time.sleep(BEFORE_S)
        until("the backfill has made runs", lambda: _made(box, "backfilled"))
        before = asyncio.run(states(box))
    under_way = Counter(_dag_of(n) for n, s in before.items() if s is _RUNNING)
    assert under_way.keys() >= UNDER_WAY, under_way
    assert sum(_dag_of(name) == "backfilled" for name in before) < BACKFILLED_RUNS
    paused_runs = {name for name in before if _dag_of(name) == "paused"}

    (tmp_path / "open").touch()
    with running_box(dags=DAGS, folder=tmp_path, environ=settings) as box:
        assert not has_the_old_code(box)
        approved = box.appliance("approve", "asking", "run-0", "ask")
        assert approved.code == 0, approved.stderr
        expected = sum(SUBMITTED.values()) + BACKFILLED_RUNS + len(paused_runs)
        until("all runs have ended", lambda: _all_ended(box, expected), patience_s=240)
        ended = asyncio.run(executions(box))
        health = box.appliance("health")
        is_paused = schedule_state(box, "paused")

    assert [one for one in ended if one[1] is not _COMPLETED] == []
    found = dict(ended)
    assert len(found) == len(ended), "a run was made twice"
    assert health.code == 0, health.stdout
    assert is_paused == "paused"
    assert {name for name in found if _dag_of(name) == "paused"} == paused_runs
    count = Counter(map(_dag_of, found))
    assert count == {
        **SUBMITTED,
        "backfilled": BACKFILLED_RUNS,
        "paused": len(paused_runs),
        "scheduled": SCHEDULED_RUNS,
    }
    check_effects(notes(tmp_path), len(paused_runs))


_COMPLETED = WorkflowExecutionStatus.COMPLETED
_RUNNING = WorkflowExecutionStatus.RUNNING


def _dag_of(workflow_id: str) -> str:
    return workflow_id.split("-")[1]


def _of(box: RunningBox, dag_id: str) -> list[str]:
    found = asyncio.run(states(box))
    return [n for n, s in found.items() if _dag_of(n) == dag_id and s is _COMPLETED]


def _made(box: RunningBox, dag_id: str) -> bool:
    return dag_id in map(_dag_of, asyncio.run(states(box)))


def _all_ended(box: RunningBox, others: int) -> bool:
    found = asyncio.run(states(box))
    is_running = _RUNNING in found.values()
    return len(found) == others + SCHEDULED_RUNS and not is_running


def _notes_expected(paused_runs: int) -> int:
    """Return how many task instances note that they are done, each once."""
    per_run = {"mapped": 5, "deferred": 0, "asking": 0}
    submitted = sum(count * per_run.get(name, 1) for name, count in SUBMITTED.items())
    return submitted + BACKFILLED_RUNS + paused_runs + SCHEDULED_RUNS
