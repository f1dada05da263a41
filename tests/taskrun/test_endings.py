"""Every way a task can end: its state as Airflow has it, why, in bounded memory, and nobody else notices."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import pytest_asyncio

from appliance.dagrun.attempt import TaskExecutionResult
from appliance.dagrun.states import TaskState
from appliance.forkserver.control import Zygote
from tests.fakes.runs import FakeRun
from tests.taskrun.conftest import Box, a_try

pytestmark = [
    pytest.mark.needs_airflow,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(120),
]

SUCCESS, FAILED, RETRY = TaskState.SUCCESS, TaskState.FAILED, TaskState.UP_FOR_RETRY
MOST_MB = 64
"""How much the worker may need for a try at most, beyond what it needs anyway."""
MOST_BUSY_S = 2.0
"""How much CPU time it may take in one go, all other tries waiting."""
MOST_ERROR_BYTES = 40_000

TABLE: list[tuple[str, TaskState, str]] = [
    # task, state when no retries are left, what the reason says
    ("returns", SUCCESS, ""),
    ("raises", FAILED, "ValueError: no rows"),
    ("calls_sys_exit", FAILED, "SystemExit: 3"),
    ("calls_sys_exit_0", FAILED, "SystemExit: 0 (sys.exit fails a task in Airflow"),
    ("exits_with_words", FAILED, "SystemExit: the input is empty"),
    ("is_interrupted", FAILED, "KeyboardInterrupt"),
    ("leaves_with_0", SUCCESS, ""),
    ("leaves_with_5", FAILED, "its process exited with code 5"),
    (
        "segfaults",
        FAILED,
        "killed by SIGSEGV (a crash in native code)\nFatal Python error: ",
    ),
    ("aborts", FAILED, "killed by SIGABRT\nFatal Python error: Aborted\n  File "),
    (
        "is_killed_for_memory",
        FAILED,
        "killed by SIGKILL (out of memory? It used ",
    ),
    ("is_refused_memory", FAILED, "MemoryError"),
    ("recurses_for_ever", FAILED, "RecursionError: maximum recursion depth exceeded"),
    ("prints_one_long_line", SUCCESS, ""),
    ("closes_stdout", SUCCESS, ""),
    ("closes_descriptors_1_and_2", SUCCESS, ""),
    ("closes_all_descriptors", FAILED, "its process exited with code 126"),
    ("closes_what_it_does_not_know", FAILED, "OSError: [Errno 9] Bad file descriptor"),
    ("prints_no_text", SUCCESS, ""),
    ("prints_half_a_surrogate", FAILED, "UnicodeEncodeError: 'utf-8' codec can't"),
    ("fails_with_3_mb", FAILED, "ValueError: mmm"),
    ("fails_with_90_mb", FAILED, "ValueError: mmm"),
    ("fails_as_group", FAILED, "ExceptionGroup: all of it (2 sub-exceptions)"),
    ("cannot_be_shown", FAILED, "Odd: <str-error 'no words'>"),
    ("returns_200_mb", SUCCESS, ""),
    ("takes_too_long", FAILED, "AirflowTaskTimeout: Timeout, PID: "),
    (
        "takes_too_long_in_c",
        FAILED,
        "its time limit of 1 s passed in native code, where Airflow cannot interrupt it",
    ),
    ("leaves_a_daemon_with_its_pipes", SUCCESS, ""),
    ("leaves_a_fork_of_itself", SUCCESS, ""),
    ("leaves_a_daemon_forked_twice", SUCCESS, ""),
    ("changes_its_group", SUCCESS, ""),
]
SAID = {
    "leaves_with_0": "its process ended with code 0 before it said how the task went",
    "leaves_with_5": '"critical", "event": "its process exited with code 5"',
    "segfaults": "in string_at",
    "prints_one_long_line": "[99000000 bytes cut]",
    "prints_no_text": "caf\ufffd",
    "takes_too_long": "The time limit was 1 s.",
    "takes_too_long_in_c": "in takes_too_long_in_c",
    "leaves_a_daemon_with_its_pipes": "I am here",
    "returns_200_mb": "bytes_cut",
}
"""What the log says besides."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def endings(box: Box) -> AsyncIterator[Zygote]:
    zygote = await box.read("endings.py")
    yield zygote
    zygote.close()


async def end(
    box: Box, zygote: Zygote, way: str, *, max_tries: int = 0
) -> TaskExecutionResult:
    """Run a task of ``endings.py``; it may write the pid of what it leaves behind to a file of its name."""
    conf = {"pids": str(box.data / way)}
    facts = {"dag_id": "endings", "file": "endings.py", "conf": conf}
    task = a_try(way, facts=facts, max_tries=max_tries)
    return await box.host().run_try(task, zygote=zygote, run=FakeRun())


@asynccontextmanager
async def unnoticed(box: Box) -> AsyncIterator[None]:
    """Check that meanwhile the worker stays small and responsive, and that another try goes on."""
    gate = box.data / "gate"
    other = asyncio.create_task(box.run("waits_for", conf={"path": str(gate)}))
    before_mb = reset_peak_mb()
    watch = asyncio.create_task(busiest_s())
    yield
    watch.cancel()
    assert await watch < MOST_BUSY_S
    assert memory_mb("VmHWM") - before_mb < MOST_MB
    gate.touch()
    assert (await other).state == SUCCESS
    gate.unlink()


def reset_peak_mb() -> int:
    """Let the highest of the memory be what it is now, and return that."""
    Path("/proc/self/clear_refs").write_text("5")
    return memory_mb("VmHWM")


def memory_mb(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(ln.split()[1]) for ln in lines if ln.startswith(name)) // 1024


async def busiest_s() -> float:
    """Return, when cancelled, the most CPU time that was spent between two turns of the loop."""
    most = 0.0
    with suppress(asyncio.CancelledError):
        while True:
            begin = time.thread_time()
            await asyncio.sleep(0.01)
            most = max(most, time.thread_time() - begin)
    return most


def pids(file: Path) -> list[int]:
    return list(map(int, file.read_text().split())) if file.exists() else []


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


async def until(fact: Callable[[], bool]) -> None:
    """Wait for a condition; the test's own timeout is the deadline."""
    while not fact():  # noqa: ASYNC110 - another process makes it true
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(("way", "state", "reason"), TABLE, ids=[r[0] for r in TABLE])
async def test_a_task_ends_as_on_airflow(
    box: Box, endings: Zygote, way: str, state: TaskState, reason: str
) -> None:
    async with unnoticed(box):
        result = await end(box, endings, way)

    error = result.error or ""
    assert result.state == state
    assert reason in error
    assert bool(error) == (state == FAILED)
    assert len(error.encode()) < MOST_ERROR_BYTES
    log = box.log(result)
    assert SAID.get(way, "") in log
    assert all(isinstance(json.loads(line), dict) for line in log.splitlines())
    assert (await end(box, endings, "returns")).state == SUCCESS
    left = pids(box.data / way)
    await until(lambda: not any(is_running(pid) for pid in left))


@pytest.mark.parametrize(
    "way", ["raises", "calls_sys_exit", "segfaults", "leaves_with_5", "takes_too_long"]
)
async def test_what_fails_is_tried_again_while_retries_are_left(
    box: Box, endings: Zygote, way: str
) -> None:
    assert (await end(box, endings, way, max_tries=1)).state == RETRY


@pytest.mark.parametrize(
    "way",
    [
        "ignores_sigterm",
        "has_a_child_that_ignores_sigterm",
        "has_a_child_in_another_session",
        "waits_in_another_group",
    ],
)
async def test_a_cancelled_task_is_gone_with_all_it_started(
    box: Box, endings: Zygote, way: str
) -> None:
    trying = asyncio.create_task(end(box, endings, way))
    await until(lambda: bool(pids(box.data / way)))

    trying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trying

    await until(lambda: not any(map(is_running, pids(box.data / way))))
    assert (await end(box, endings, "returns")).state == SUCCESS
