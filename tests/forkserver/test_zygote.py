"""A real zygote and real children."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.forkserver.control import (
    Child,
    Zygote,
    ZygoteLostError,
    ZygoteRefusedError,
)
from tests.taskrun.conftest import zygote_env

pytestmark = [
    pytest.mark.needs_airflow,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(60),
]
ENTRIES = "tests.fakes.entries"


async def nested(base: Zygote, size: int = 0) -> tuple[Child, Zygote]:
    child, zygote = await base.fork_zygote(f"{ENTRIES}:nest", {"size": size})
    assert len((await zygote.ready())["bulk"]) == size
    return child, zygote


async def sleeper(
    zygote: Zygote, file: Path, entry: str = "sleep"
) -> tuple[Child, int]:
    """Return a child that sleeps and the pid of the process it has started."""
    child = await zygote.fork(f"{ENTRIES}:{entry}", {"file": str(file)})
    await until(file.exists)
    return child, int(file.read_text())  # noqa: ASYNC240 - a few bytes


async def until(fact: Callable[[], bool]) -> None:
    """Wait for a condition; the test's own timeout is the deadline."""
    while not fact():  # noqa: ASYNC110 - another process makes it true
        await asyncio.sleep(0.01)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("size", [0, 1_000_000])
async def test_child_is_given_arguments_and_descriptors(
    base: Zygote, size: int
) -> None:
    ours, theirs = os.pipe()

    child = await base.fork(f"{ENTRIES}:write", {"text": "x" * size}, [theirs])
    os.close(theirs)

    assert (await child.exited()).code == 0
    assert os.read(ours, 100) == str(size).encode()
    os.close(ours)


async def test_exit_is_reported_with_usage(base: Zygote) -> None:
    child = await base.fork(f"{ENTRIES}:leave", {"code": 7})

    ended = await child.exited()

    assert ended.code == 7
    assert ended.maxrss_kb > 10_000
    assert not child.is_running


async def test_shielded_process_is_not_readable(base: Zygote) -> None:
    child = await base.fork(f"{ENTRIES}:dumpable", {})

    assert (await child.exited()).code == 0


async def test_entry_that_raises_is_no_success(base: Zygote) -> None:
    child = await base.fork(f"{ENTRIES}:crash", {})

    assert (await child.exited()).code == 123


async def test_kill_reaches_the_whole_group(base: Zygote, tmp_path: Path) -> None:
    child, grandchild = await sleeper(base, tmp_path / "pid")

    child.kill(signal.SIGTERM)

    assert (await child.exited()).code == -signal.SIGTERM
    await until(lambda: not is_running(grandchild))
    child.kill(signal.SIGTERM)


async def test_nested_zygote_reports_in_bulk_and_forks(base: Zygote) -> None:
    server, zygote = await nested(base, size=1_000_000)

    child = await zygote.fork(f"{ENTRIES}:leave", {"code": 3})

    assert (await child.exited()).code == 3
    zygote.close()
    assert (await server.exited()).code == 0


async def test_retired_zygote_ends_after_its_last_child(
    base: Zygote, tmp_path: Path
) -> None:
    server, zygote = await nested(base)
    child, _ = await sleeper(zygote, tmp_path / "pid")

    zygote.retire()
    assert zygote.retired.done()
    child.kill(signal.SIGKILL)

    assert (await child.exited()).code == -signal.SIGKILL
    assert (await server.exited()).code == 0
    await zygote.closed


async def test_closing_kills_children_and_what_they_started(
    base: Zygote, tmp_path: Path
) -> None:
    server, zygote = await nested(base)
    child, grandchild = await sleeper(zygote, tmp_path / "pid", "stubborn")

    zygote.close()

    assert (await child.exited()).is_orphan
    assert (await server.exited()).code == 0
    await until(lambda: not is_running(grandchild))


async def test_children_of_a_killed_zygote_die(base: Zygote, tmp_path: Path) -> None:
    server, zygote = await nested(base)
    child, grandchild = await sleeper(zygote, tmp_path / "pid")

    server.kill(signal.SIGKILL)

    assert (await child.exited()).is_orphan
    await zygote.closed
    await until(lambda: not is_running(child.pid) and not is_running(grandchild))
    with pytest.raises(ZygoteLostError):
        await zygote.fork(f"{ENTRIES}:leave", {"code": 0})


async def test_many_forks_at_once(base: Zygote) -> None:
    children = await asyncio.gather(
        *(base.fork(f"{ENTRIES}:leave", {"code": n % 200}) for n in range(60))
    )

    codes = [(await child.exited()).code for child in children]

    assert codes == [n % 200 for n in range(60)]


async def test_zygote_that_cannot_start_says_so(tmp_path: Path) -> None:
    with pytest.raises(ZygoteRefusedError, match="No module named 'no'"):
        await Zygote.start(env=zygote_env(tmp_path), preload=["no.such.module"])
