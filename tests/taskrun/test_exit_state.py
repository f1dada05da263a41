"""What a try's end means: what it reported and how its process ended."""

import pytest

from appliance.dagrun.states import TaskState
from appliance.forkserver.control import Exit
from appliance.taskrun.exit_state import cause_of_death, final_state

TABLE: list[tuple[int, TaskState | None, bool, TaskState]] = [
    (0, None, True, TaskState.SUCCESS),
    (0, TaskState.SUCCESS, True, TaskState.SUCCESS),
    (0, TaskState.FAILED, True, TaskState.FAILED),
    (0, TaskState.SKIPPED, False, TaskState.SKIPPED),
    (1, None, True, TaskState.UP_FOR_RETRY),
    (1, None, False, TaskState.FAILED),
    (-9, None, True, TaskState.UP_FOR_RETRY),
    (-9, TaskState.SUCCESS, True, TaskState.SUCCESS),
    (1, TaskState.UP_FOR_RESCHEDULE, False, TaskState.UP_FOR_RESCHEDULE),
    (1, TaskState.UP_FOR_RETRY, False, TaskState.UP_FOR_RETRY),
    (1, TaskState.FAILED, True, TaskState.UP_FOR_RETRY),
    (1, TaskState.SKIPPED, False, TaskState.FAILED),
]


@pytest.mark.parametrize(("code", "reported", "is_retried", "state"), TABLE)
def test_final_state(
    code: int, reported: TaskState | None, is_retried: bool, state: TaskState
) -> None:
    assert final_state(code, reported, is_retried=is_retried) == state


@pytest.mark.parametrize(
    ("ended", "cause"),
    [
        (Exit(0), None),
        (Exit(3), "its process exited with code 3"),
        (Exit(-9), "killed by SIGKILL (out of memory? It used 0 MB at most)"),
        (
            Exit(-9, 2 << 20),
            "killed by SIGKILL (out of memory? It used 2048 MB at most)",
        ),
        (Exit(-11), "killed by SIGSEGV (a crash in native code)"),
        (Exit(-15), "killed by SIGTERM"),
        (Exit(-9, is_orphan=True), "killed: the process it was forked from died"),
    ],
)
def test_cause_of_death(ended: Exit, cause: str | None) -> None:
    assert cause_of_death(ended) == cause
