"""Errands end: with an answer, or killed."""

import asyncio
from pathlib import Path

import pytest

from appliance.forkserver import child_call
from appliance.forkserver.control import Zygote
from tests.forkserver.test_zygote import ENTRIES, is_running, until

pytestmark = [
    pytest.mark.needs_airflow,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(60),
]
LONG_S = 50.0


async def test_a_call_brings_back_an_answer(base: Zygote) -> None:
    answer = await child_call.send(base, f"{ENTRIES}:double", [1], limit_s=LONG_S)

    assert answer == [1, 1]


async def test_one_that_fails_is_named(base: Zygote) -> None:
    with pytest.raises(ChildProcessError, match="exit_without_answer ended with 3"):
        await child_call.send(
            base, f"{ENTRIES}:exit_without_answer", None, limit_s=LONG_S
        )


async def test_one_that_takes_too_long_is_killed(base: Zygote, tmp_path: Path) -> None:
    file = tmp_path / "pid"
    why = "dawdle took more than 1 s and was killed"

    with pytest.raises(ChildProcessError, match=why):
        await child_call.send(base, f"{ENTRIES}:dawdle", str(file), limit_s=1.0)

    if file.exists():  # It may not have got that far.
        pid = int(file.read_text())
        await until(lambda: not is_running(pid))


async def test_one_that_nobody_waits_for_any_more_is_killed(
    base: Zygote, tmp_path: Path
) -> None:
    file = tmp_path / "pid"
    sent = child_call.send(base, f"{ENTRIES}:dawdle", str(file), limit_s=LONG_S)
    call = asyncio.create_task(sent)
    await until(file.exists)

    call.cancel()

    pid = int(file.read_text())
    await until(lambda: not is_running(pid))
