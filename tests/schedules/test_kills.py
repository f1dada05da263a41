"""Whatever is killed, and however many containers there are: every run is made, and none twice."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.box import RunningBox, running_box
from tests.faults.processes import the_one
from tests.schedules.looking import Looker, until

pytestmark = [
    pytest.mark.long,
    pytest.mark.needs_airflow,
    pytest.mark.needs_server,
    pytest.mark.timeout(400),
]

HERE = Path(__file__).parent
FIRST = datetime(2026, 3, 1, tzinfo=UTC)
RUNS = [
    f"scheduled__{(FIRST + timedelta(hours=hour)).isoformat()}" for hour in range(60)
]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[RunningBox]:
    """Give a box whose schedules begin active."""
    (tmp_path / "dags").mkdir()
    shutil.copy(HERE / "dags" / "many.py", tmp_path / "dags")
    (tmp_path / "appliance.yaml").write_text("dags: {schedules: active}\n")
    environ = {"APPLIANCE_CONF": str(tmp_path / "appliance.yaml")}
    with running_box(
        dags=tmp_path / "dags", folder=tmp_path, environ=environ
    ) as running:
        yield running


@pytest.fixture
def second(box: RunningBox) -> Iterator[subprocess.Popen[bytes]]:
    """Give a second worker on the same server, with a data folder of its own."""
    folder = box.data.parent
    environ = {
        **box.environ,
        "TEMPORAL_ADDRESS": f"127.0.0.1:{box.environ['APPLIANCE_PORT']}",
        "APPLIANCE_ROLE": "worker",
        "APPLIANCE_DATA": str(folder / "second"),
        "APPLIANCE_KEY_FILE": str(box.data / "keys"),
    }
    with (folder / "second.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "appliance", "worker"],
            env=environ,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    yield process
    process.terminate()
    process.wait(30)


def test_catching_up_while_everything_is_killed(
    box: RunningBox, second: subprocess.Popen[bytes]
) -> None:
    """The worker, with the reconciler in it, and the server die in the middle of it; two workers schedule."""
    look = Looker(box)

    def made(number: int) -> bool:
        return len(look.executions("many")) >= number

    until(lambda: made(3))
    os.kill(the_one(box.process.pid, "appliance worker"), signal.SIGKILL)
    until(lambda: made(15))
    os.kill(the_one(box.process.pid, "temporal server start-dev"), signal.SIGKILL)
    until(lambda: made(len(RUNS)))

    assert look.executions("many") == RUNS
    assert look.schedules()["many"]["next_run"] is None
    assert second.poll() is None
