"""No more runs of a DAG run than may; the others wait their turn, whatever is killed."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHistory
from temporalio.service import RPCError
from temporalio.worker import Replayer

from appliance.active_runs.client import dag_workflow_id
from appliance.active_runs.workflow import AirflowDag
from appliance.pools.activities import pool_workflow_id
from appliance.pools.messages import HELD_QUERY
from appliance.runs.workflow import ExecuteAirflowDagWorkflow
from tests.box import RunningBox, running_box
from tests.faults.processes import the_one, until

pytestmark = [pytest.mark.long, pytest.mark.needs_server, pytest.mark.timeout(240)]

DAGS = Path(__file__).parent / "dags"
DAG = "one_at_a_time"


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBox]:
    folder = tmp_path_factory.mktemp("limits")
    told = folder / "appliance.yaml"
    told.write_text("pools:\n  narrow: 1\n  wide: {slots: 4}\n")
    environ = {"APPLIANCE_CONF": str(told)}
    with running_box(dags=DAGS, folder=folder, environ=environ) as started:
        yield started


class Queue:
    """Runs of a DAG whose tasks wait for files."""

    def __init__(self, box: RunningBox, folder: Path, dag_id: str = DAG) -> None:
        self.dag_id = dag_id
        self.box = box
        self.folder = folder

    def submit(self, name: str, *words: str) -> None:
        conf = ("--conf", json.dumps({"folder": str(self.folder)}))
        done = self.box.submit(self.dag_id, "--run-id", self.id(name), *conf, *words)
        assert done.code == 0, done.stderr

    def id(self, name: str) -> str:
        return f"{self.folder.name}-{name}"

    @property
    def began(self) -> list[str]:
        file = self.folder / "began"
        names = file.read_text().split() if file.exists() else []
        return [name.rpartition("-")[2] for name in names]

    def has_begun(self, *names: str) -> None:
        until(f"{names} have begun", lambda: self.began == list(names))

    def let_go(self, name: str) -> None:
        (self.folder / f"{self.id(name)}.open").touch()

    def state(self, name: str) -> str:
        """Return the state `runs list` shows; empty while it shows none."""
        done = self.box.appliance("runs", "list", self.dag_id, "-o", "json")
        rows = {row["run_id"]: row["state"] for row in done.json}
        return str(rows.get(self.id(name), ""))

    def tasks(self, name: str) -> dict[str, str | None]:
        workflow = f"dag-{self.dag_id}-{self.id(name)}"
        rows = _ask(
            self.box,
            lambda client: client.get_workflow_handle(workflow).query("task_states"),
        )
        return {row["task_id"]: row["state"] for row in rows}

    def is_queued(self, name: str) -> None:
        until(f"{name} is queued", lambda: self.state(name) == "queued")

    def succeeds(self, name: str) -> None:
        done = self.box.appliance(
            "runs", "wait", self.dag_id, self.id(name), timeout_s=100
        )
        assert done.code == 0, done.stdout + done.stderr


@pytest.fixture
def queue(box: RunningBox, tmp_path: Path) -> Queue:
    return Queue(box, tmp_path)


def test_a_run_waits_queued_until_it_may_run(queue: Queue) -> None:
    for name in ("a", "b", "c"):
        queue.submit(name)

    queue.has_begun("a")
    queue.is_queued("b")
    queue.let_go("a")
    queue.has_begun("a", "b")
    queue.is_queued("c")
    queue.let_go("b")
    queue.let_go("c")

    for name in ("a", "b", "c"):
        queue.succeeds(name)
    assert queue.began == ["a", "b", "c"]


def test_a_queued_run_can_be_cancelled(queue: Queue) -> None:
    queue.submit("a")
    queue.has_begun("a")
    queue.submit("b")
    queue.is_queued("b")

    queue.box.appliance("cancel", DAG, queue.id("b"))

    until("b has failed", lambda: queue.state("b") == "failed")
    queue.let_go("a")
    queue.succeeds("a")
    assert queue.began == ["a"]


def test_a_run_somebody_terminated_holds_nobody_up(queue: Queue) -> None:
    queue.submit("a")
    queue.has_begun("a")
    queue.submit("b")
    queue.is_queued("b")

    _ask(queue.box, lambda client: _run(client, queue.id("a")).terminate())

    queue.has_begun("a", "b")
    queue.let_go("b")
    queue.succeeds("b")


def test_whoever_terminates_the_dags_workflow_lets_no_run_slip_by(
    queue: Queue,
) -> None:
    queue.submit("a")
    queue.has_begun("a")
    queue.submit("b")
    queue.is_queued("b")

    _ask(
        queue.box,
        lambda client: client.get_workflow_handle(dag_workflow_id(DAG)).terminate(),
    )
    os.kill(the_one(queue.box.process.pid, "appliance worker"), signal.SIGKILL)
    queue.submit("c")

    queue.is_queued("c")
    assert queue.began[:1] == ["a"]
    assert "b" not in queue.began
    for name in ("a", "b", "c"):
        queue.let_go(name)
    for name in ("b", "c"):
        queue.succeeds(name)


def test_a_task_waits_for_itself_in_the_run_before(
    box: RunningBox, tmp_path: Path
) -> None:
    runs = Queue(box, tmp_path, "depends")
    runs.submit("a", "--logical-date", "2026-01-01")
    runs.has_begun("a")
    runs.submit("b", "--logical-date", "2026-01-02")

    until("b runs what may run", lambda: runs.tasks("b").get("free") == "success")
    assert runs.tasks("b")["waits"] is None
    runs.let_go("a")
    runs.has_begun("a", "b")
    runs.let_go("b")

    for name in ("a", "b"):
        runs.succeeds(name)


@pytest.mark.parametrize("dag_id", ["pooled", "limited"])
def test_a_task_waits_for_a_slot_that_another_run_has(
    box: RunningBox, tmp_path: Path, dag_id: str
) -> None:
    runs = Queue(box, tmp_path, dag_id)
    runs.submit("a")
    runs.has_begun("a")
    runs.submit("b")
    until("b waits", lambda: runs.tasks("b").get("waits") == "scheduled")
    if dag_id == "pooled":
        until("others do not", lambda: runs.tasks("b")["free"] == "success")

    runs.let_go("a")
    runs.has_begun("a", "b")
    runs.let_go("b")

    for name in ("a", "b"):
        runs.succeeds(name)


def test_a_run_somebody_terminated_keeps_no_slot(
    box: RunningBox, tmp_path: Path
) -> None:
    runs = Queue(box, tmp_path, "pooled")
    runs.submit("a")
    runs.has_begun("a")
    runs.submit("b")
    until("b waits", lambda: runs.tasks("b").get("waits") == "scheduled")
    name = f"dag-pooled-{runs.id('a')}"

    _ask(box, lambda client: client.get_workflow_handle(name).terminate())

    runs.has_begun("a", "b")
    runs.let_go("b")
    runs.succeeds("b")


def test_as_many_run_as_the_pool_has_slots_for(box: RunningBox, tmp_path: Path) -> None:
    conf = ("--conf", json.dumps({"folder": str(tmp_path)}))
    done = box.submit("counts", "--run-id", "c", *conf, "--wait", timeout_s=120)

    assert done.code == 0, done.stderr
    rows = box.appliance("xcoms", "counts", "c", "-o", "json").json
    most = [row["value"] for row in rows if row["key"] == "return_value"]
    assert len(most) == 5
    assert max(most) <= 2


def test_a_run_asks_the_default_pool_as_soon_as_it_is_made_smaller(
    box: RunningBox, tmp_path: Path
) -> None:
    """Four run without having asked; the pool has two slots then, so two must end before another begins."""
    told = Path(box.environ["APPLIANCE_CONF"])
    before = told.read_text()
    conf = ("--conf", json.dumps({"folder": str(tmp_path)}))

    def inside() -> set[str]:
        return {path.name for path in tmp_path.glob("in*")}

    def let_go(*numbers: int) -> None:
        for number in numbers:
            (tmp_path / f"open{number}").touch()

    assert box.submit("crowds", "--run-id", "c", *conf).code == 0
    until("four run", lambda: inside() == {"in0", "in1", "in2", "in3"})
    try:
        told.write_text(f"{before}  default_pool: 2\n")
        until("it is in force", lambda: "in force now: pools" in box.output())
        let_go(0)
        until("the next one waits", lambda: _held(box, "default_pool") == 3)
        let_go(1)
        until("it still waits", lambda: _held(box, "default_pool") == 2)
        assert inside() == {"in2", "in3"}
        let_go(2)
        until("it runs", lambda: inside() == {"in3", "in4"})
        let_go(*range(3, 7))
        done = box.appliance("runs", "wait", "crowds", "c", timeout_s=100)
    finally:
        changes = box.output().count("in force now: pools")
        told.write_text(before)
        until(
            "the former pools are in force",
            lambda: box.output().count("in force now: pools") > changes,
        )

    assert done.code == 0, done.stdout + done.stderr


def _held(box: RunningBox, pool: str) -> int:
    """Return how many instances have slots of a pool that others wait for."""
    name = pool_workflow_id(pool)
    asked = HELD_QUERY
    held: list[Any] = []
    with suppress(RPCError):  # Nobody has asked it yet.
        held = _ask(box, lambda client: client.get_workflow_handle(name).query(asked))
    return len(held)


@pytest.mark.parametrize(
    ("dag_id", "why"),
    [
        ("no_such_pool", 'task "one": there is no pool "nowhere" (there is narrow'),
        ("too_large", 'wants 2 slots of the pool "narrow", which has 1'),
    ],
)
def test_a_pool_that_can_never_serve_a_task_is_told_at_submit(
    box: RunningBox, dag_id: str, why: str
) -> None:
    done = box.submit(dag_id)

    assert done.code == 2
    assert why in done.stderr


def test_the_histories_can_be_replayed(queue: Queue) -> None:
    queue.submit("a")
    queue.has_begun("a")
    queue.submit("b")
    queue.is_queued("b")
    for name in ("a", "b"):
        queue.let_go(name)
        queue.succeeds(name)

    async def replay() -> None:
        client = await _connect(queue.box)
        replayer = Replayer(workflows=[AirflowDag, ExecuteAirflowDagWorkflow])
        for name in (dag_workflow_id(DAG), f"dag-{DAG}-{queue.id('b')}"):
            text = (await client.get_workflow_handle(name).fetch_history()).to_json()
            await replayer.replay_workflow(WorkflowHistory.from_json(name, text))

    asyncio.run(replay())


def _run(client: Client, run_id: str) -> Any:
    return client.get_workflow_handle(f"dag-{DAG}-{run_id}")


async def _connect(box: RunningBox) -> Client:
    return await Client.connect(f"127.0.0.1:{box.environ['APPLIANCE_PORT']}")


def _ask(box: RunningBox, question: Any) -> Any:
    async def ask() -> Any:
        return await question(await _connect(box))

    return asyncio.run(ask())
