"""What waits outlives the whole box."""

import os
import signal
from pathlib import Path

import pytest

from tests.box import RunningBox, running_box
from tests.deferrals.conftest import DAGS
from tests.deferrals.test_answers import Asking
from tests.deferrals.test_deferral import Waiting, history
from tests.deferrals.test_sensors import SCHEDULED, conf
from tests.faults.processes import family, is_alive, until

pytestmark = [pytest.mark.long, pytest.mark.needs_server, pytest.mark.timeout(240)]


def test_a_box_that_is_killed_loses_no_wait_and_ends_none_twice(tmp_path: Path) -> None:
    with running_box(dags=DAGS, folder=tmp_path) as box:
        deferred = Waiting(box, "waits_for_a_file", tmp_path / "file")
        asking = Asking(box, "asks_for_colours")
        asking.asks("Which colours on 2026-01-02?")
        beside = tmp_path / "beside"
        beside.mkdir()
        sensing = ("senses_slowly", "--run-id", "slow", *conf(beside))
        assert box.submit(*sensing).code == 0
        slow = "dag-senses_slowly-slow"
        until("it waits for its next poke", lambda: pokes_begun(box, slow) == 2)
        kill_everything(box)

    with running_box(dags=DAGS, folder=tmp_path) as box:
        deferred.box = asking.box = box
        until("the wait was begun again", lambda: deferred.notes.count("began") == 2)
        deferred.fires()
        asking.answer("respond", "--choose", "red")

        assert deferred.report["state"] == "success"
        assert deferred.notes.count("fired") == 1
        assert asking.end() == {"ask": "success"}
        sensed = box.appliance("runs", "wait", "senses_slowly", "slow", timeout_s=100)
        assert sensed.code == 0
        assert len((beside / "sensor.wait.notes").read_text().splitlines()) == 3


def pokes_begun(box: RunningBox, workflow_id: str) -> int:
    return history(box, workflow_id).count(SCHEDULED)


def kill_everything(box: RunningBox) -> None:
    below = family(box.process.pid)
    for pid in below:
        os.kill(pid, signal.SIGKILL)
    box.process.wait()
    until("all of them end", lambda: not any(map(is_alive, below)))
