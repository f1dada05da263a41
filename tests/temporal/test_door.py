"""``submit`` on the box itself goes through the worker's door; elsewhere it asks the server."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.box import RunningBox, run, running_box
from tests.faults.processes import until

pytestmark = [pytest.mark.needs_server, pytest.mark.timeout(120)]

DAGS = Path(__file__).parent / "dags"


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
