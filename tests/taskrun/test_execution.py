"""What ends a task from outside while it is executed: SIGTERM, and the limit of its time, waits included."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from appliance.dagrun.attempt import TaskExecutionResult
from appliance.dagrun.deferral import FAIL, Resumption
from appliance.dagrun.states import TaskState
from appliance.forkserver.control import Zygote
from appliance.taskrun.attempt import LOST
from tests.fakes.runs import FakeRun
from tests.taskrun.conftest import Box, a_try

pytestmark = [
    pytest.mark.needs_airflow,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(60),
]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def zygote(box: Box) -> AsyncIterator[Zygote]:
    zygote = await box.read("execution.py")
    yield zygote
    zygote.close()


class Trial:
    """One try of a task of ``dags/execution.py``, which notes what happens to it."""

    def __init__(self, box: Box, zygote: Zygote, notes: Path, grace_s: float = 10):
        self._host = box.host(grace_s=grace_s)
        self._zygote = zygote
        self._notes = notes

    def begin(
        self, task_id: str, *, sleep_s: float = 60, **changes: Any
    ) -> asyncio.Task[TaskExecutionResult]:
        conf = {"notes": str(self._notes), "sleep_s": sleep_s}
        facts = {"dag_id": "execution", "file": "execution.py", "conf": conf}
        task = a_try(task_id, facts=facts, **changes)
        run = self._host.run_try(task, zygote=self._zygote, run=FakeRun())
        return asyncio.create_task(run)

    @property
    def notes(self) -> list[str]:
        return self._notes.read_text().splitlines() if self._notes.exists() else []

    async def noted(self, fact: Callable[[list[str]], bool]) -> None:
        while not fact(self.notes):  # noqa: ASYNC110 - another process makes it true
            await asyncio.sleep(0.01)


@pytest.fixture
def trial(box: Box, zygote: Zygote, tmp_path: Path) -> Trial:
    return Trial(box, zygote, tmp_path / "notes")


@pytest.mark.parametrize(
    "way", ["loops", "sleeps", "swallows", "skips", "defers", "leaves", "breaks"]
)
async def test_a_task_that_others_terminate_fails_once(trial: Trial, way: str) -> None:
    trying = trial.begin(way)
    await trial.noted(bool)

    os.kill(int(trial.notes[0]), signal.SIGTERM)
    result = await trying

    assert result.state == TaskState.FAILED
    expected = "ValueError: killed" if way == "breaks" else "SIGTERM from outside"
    assert expected in (result.error or "")
    told = [] if way == "leaves" else ["on_failure_callback"]
    assert trial.notes[1:] == ["on_kill", *told]


async def test_a_task_that_others_terminate_is_tried_again(trial: Trial) -> None:
    trying = trial.begin("loops", max_tries=1)
    await trial.noted(bool)

    os.kill(int(trial.notes[0]), signal.SIGTERM)

    assert (await trying).state == TaskState.UP_FOR_RETRY
    assert trial.notes[1:] == ["on_kill", "on_retry_callback"]


async def test_a_cancelled_task_has_not_succeeded(trial: Trial) -> None:
    trying = trial.begin("loops")
    await trial.noted(bool)

    trying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trying

    assert trial.notes[1:] == ["on_kill", "on_failure_callback"]


@pytest.mark.parametrize("way", ["loops", "breaks"])
async def test_of_a_task_that_is_run_again_nobody_is_told(
    trial: Trial, way: str
) -> None:
    trying = trial.begin(way)
    await trial.noted(bool)

    trying.cancel(LOST)
    with pytest.raises(asyncio.CancelledError):
        await trying

    assert trial.notes[1:] == ["on_kill"]


@pytest.mark.parametrize(
    ("task_id", "least_s", "most_s"),
    [("waits", 5, 10), ("waits_less", 3, 3), ("waits_more", 5, 10)],
)
async def test_a_wait_is_no_longer_than_the_time_limit_of_its_task(
    trial: Trial, task_id: str, least_s: float, most_s: float
) -> None:
    result = await trial.begin(task_id)

    assert result.deferral is not None
    assert result.deferral.timeout_s is not None
    assert least_s <= result.deferral.timeout_s <= most_s


def resumed(seconds: float, method: str = "go_on", **more: Any) -> Resumption:
    """Go on with a try that began so many seconds ago."""
    began = datetime.now(UTC) - timedelta(seconds=seconds)  # noqa: TID251 - a real process is told
    return Resumption(method, start_date=began.isoformat(), **more)


async def test_a_time_limit_counts_waits(trial: Trial) -> None:
    result = await trial.begin("waits", resume=resumed(9))

    assert result.state == TaskState.FAILED
    assert "AirflowTaskTimeout: Timeout, PID: " in (result.error or "")
    assert "The time limit was 10 s." in (result.error or "")
    assert trial.notes == ["goes on", "on_kill", "on_failure_callback"]


@pytest.mark.parametrize("method", ["go_on", FAIL])
async def test_a_task_whose_time_is_up_does_not_go_on(
    trial: Trial, method: str
) -> None:
    result = await trial.begin("waits", resume=resumed(11, method))

    assert result.state == TaskState.FAILED
    assert "AirflowTaskTimeout: Timeout, PID: " in (result.error or "")
    assert trial.notes == ["on_failure_callback"]


async def test_a_time_limit_does_not_count_a_wait_for_a_person(trial: Trial) -> None:
    resume = resumed(3600, is_answered=True)
    result = await trial.begin("waits", sleep_s=0, resume=resume)

    assert result.state == TaskState.SUCCESS
