"""``submit`` on the box itself goes through the worker's door; elsewhere it asks the server."""

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from appliance.sockets.submit_client import reachable
from tests.box import RunningBox, run, running_box
from tests.faults.processes import until

pytestmark = [pytest.mark.needs_server, pytest.mark.timeout(120)]

DAGS = Path(__file__).parents[1] / "runs" / "dags"


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBox]:
    # Deeper than the path of a Unix socket may be long.
    folder = tmp_path_factory.mktemp("door") / ("deep" * 30)
    folder.mkdir()
    with running_box(dags=DAGS, folder=folder) as started:
        until("the door opens", lambda: any(started.data.glob("run/*/submit.sock")))
        yield started


def test_the_door_is_its_owners_alone(box: RunningBox) -> None:
    (door,) = box.data.glob("run/*/submit.sock")

    assert door.stat().st_mode & 0o777 == 0o600


def test_a_run_starts_through_it_without_the_temporal_sdk(box: RunningBox) -> None:
    code = (
        "import sys\n"
        "sys.argv = ['submit', 'passes_values', '-o', 'json']\n"
        "from appliance.cli.submission import submit\n"
        "try: submit()\n"
        "except SystemExit as ended: assert not ended.code\n"
        "assert 'temporalio' not in sys.modules\n"
    )
    done = run([sys.executable, "-c", code], box.environ, 60)

    assert done.code == 0, done.stderr
    waited = box.appliance("runs", "wait", "passes_values", done.json["run_id"])
    assert waited.code == 0, waited.stderr


def test_a_refusal_reads_the_same_through_it(box: RunningBox) -> None:
    done = box.submit("pases_values")

    assert done.code == 2
    assert "passes_values" in done.stderr


def test_without_a_door_the_server_is_asked(box: RunningBox) -> None:
    (door,) = box.data.glob("run/*/submit.sock")
    away = door.with_name("away.sock")
    door.rename(away)
    try:
        done = box.submit("passes_values", "--wait")
    finally:
        away.rename(door)

    assert done.code == 0, done.stderr


@pytest.mark.parametrize("answer", [b'{"elsewhere": true, "why": "timed out"}\n', b""])
def test_a_start_whose_answer_was_lost_is_not_made_twice(
    box: RunningBox, answer: bytes
) -> None:
    """The worker has started the run, and says that it does not know, or dies."""
    before = _runs(box)
    with _answering(box, answer) as passed_on:
        done = box.submit("passes_values", "-o", "json")

    assert done.code == 0, done.stderr
    assert passed_on == [True]
    assert _runs(box) - before == {done.json["run_id"]}
    assert len(_runs(box)) == len(before) + 1


def test_another_request_for_the_same_run_id_is_refused(box: RunningBox) -> None:
    assert box.submit("passes_values", "--run-id", "taken").code == 0
    done = box.submit("passes_values", "--run-id", "taken")

    assert done.code == 2
    assert "'taken' is used already" in done.stderr


def _runs(box: RunningBox) -> set[str]:
    listed = box.appliance("runs", "list", "passes_values", "-o", "json")
    return {row["run_id"] for row in listed.json}


@contextmanager
def _answering(box: RunningBox, answer: bytes) -> Iterator[list[bool]]:
    """Stand before the door: pass one request on, wait for the answer, and give another one."""
    (door,) = box.data.glob("run/*/submit.sock")
    away = door.with_name("away.sock")
    door.rename(away)
    passed_on: list[bool] = []

    def serve(listening: socket.socket) -> None:
        came, _ = listening.accept()
        with came, came.makefile("rwb") as asked, socket.socket(socket.AF_UNIX) as real:
            with reachable(door.parent) as path:
                real.connect(str(path.with_name(away.name)))
            with real.makefile("rwb") as asking:
                asking.write(asked.readline())
                asking.flush()
                passed_on.append(b"submitted" in asking.readline())
            asked.write(answer)

    try:
        with socket.socket(socket.AF_UNIX) as listening:
            with reachable(door.parent) as path:
                listening.bind(str(path))
            listening.listen()
            thread = threading.Thread(target=serve, args=(listening,))
            thread.start()
            yield passed_on
            thread.join()
    finally:
        door.unlink(missing_ok=True)
        away.rename(door)
