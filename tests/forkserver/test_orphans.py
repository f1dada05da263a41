"""What a child leaves behind ends after it, wherever it went; what another has started does not."""

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import pytest

from appliance.forkserver.control import Child, Zygote
from appliance.forkserver.orphans import Suspects
from tests.forkserver.test_zygote import ENTRIES, is_running, nested, until

pytestmark = [
    pytest.mark.needs_airflow,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(60),
]

LEFT = ("in its group", "outside its group", "by a daemon")


async def leaving(zygote: Zygote, how: str, file: Path, *, stays: bool) -> Child:
    """Fork a child that leaves a process behind, whose pid is in the file."""
    child = await zygote.fork(
        f"{ENTRIES}:leave_behind", {"how": how, "file": str(file), "stays": stays}
    )
    await until(file.exists)
    return child


@pytest.mark.parametrize("how", LEFT)
@pytest.mark.parametrize("is_nested", [False, True])
async def test_what_a_child_leaves_behind_is_ended(
    base: Zygote, tmp_path: Path, how: str, is_nested: bool
) -> None:
    zygote = (await nested(base))[1] if is_nested else base
    child = await leaving(zygote, how, tmp_path / "pid", stays=False)
    left = int((tmp_path / "pid").read_text())
    assert (await child.exited()).code == 0

    await until(lambda: not Path(f"/proc/{left}").exists())  # no zombie either

    if is_nested:
        zygote.close()


@pytest.mark.parametrize("how", LEFT)
async def test_what_a_child_that_goes_on_has_started_is_left_alone(
    base: Zygote, tmp_path: Path, how: str
) -> None:
    goes_on = await leaving(base, how, tmp_path / "kept", stays=True)
    kept = int((tmp_path / "kept").read_text())
    ends = await leaving(base, how, tmp_path / "left", stays=False)
    left = int((tmp_path / "left").read_text())

    await ends.exited()
    await until(lambda: not is_running(left))

    assert is_running(kept)
    goes_on.kill(signal.SIGKILL)
    await until(lambda: not is_running(kept))


async def test_what_does_not_mind_is_killed(base: Zygote, tmp_path: Path) -> None:
    child = await leaving(base, "stubbornly", tmp_path / "pid", stays=False)
    left = int((tmp_path / "pid").read_text())
    await child.exited()

    await until(lambda: not is_running(left))


async def test_what_ends_by_itself_in_a_moment_may(
    base: Zygote, tmp_path: Path
) -> None:
    child = await leaving(base, "for a moment", tmp_path / "pid", stays=False)
    await child.exited()

    await until((tmp_path / "pid.last").exists)


async def test_a_zygote_that_ends_leaves_its_orphans_to_the_one_above(
    base: Zygote, tmp_path: Path
) -> None:
    server, zygote = await nested(base)
    child = await leaving(zygote, "by a daemon", tmp_path / "pid", stays=False)
    left = int((tmp_path / "pid").read_text())
    zygote.retire()
    await child.exited()
    await server.exited()

    await until(lambda: not is_running(left))


async def test_closing_leaves_nothing(base: Zygote, tmp_path: Path) -> None:
    _, zygote = await nested(base)
    await leaving(zygote, "by a daemon", tmp_path / "pid", stays=True)
    left = int((tmp_path / "pid").read_text())

    zygote.close()

    await until(lambda: not is_running(left))


async def test_daemons_of_a_killed_zygote_are_ended_by_the_one_above(
    base: Zygote, tmp_path: Path
) -> None:
    server, zygote = await nested(base)
    await leaving(zygote, "by a daemon", tmp_path / "pid", stays=True)
    left = int((tmp_path / "pid").read_text())

    os.kill(server.pid, signal.SIGKILL)

    await until(lambda: not is_running(left))
    await asyncio.wait_for(zygote.closed, 10)


def sleep() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["sleep", "60"])


async def test_what_may_be_anothers_is_kept_until_that_has_ended_too() -> None:
    """Triggers share a process: nobody knows which of those at work has started another one."""
    before = sleep()
    suspects = Suspects()
    first, second = (sleep() for _ in range(2))
    try:
        suspects.look([1, 2])
        third = sleep()
        suspects.look([2, 3])
        assert all(is_running(one.pid) for one in (first, second, third))
        suspects.look([3])
        await until(lambda: not is_running(first.pid) and not is_running(second.pid))
        assert is_running(third.pid)
        suspects.look([])
        await until(lambda: not is_running(third.pid))
        assert is_running(before.pid)
    finally:
        before.kill()
        before.wait()
