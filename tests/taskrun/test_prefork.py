"""Children forked before they are needed."""

import asyncio
import os
import signal
from collections.abc import Callable

import pytest

from appliance.dagrun.states import TaskState
from appliance.forkserver.control import Zygote
from appliance.taskrun.prefork import PreforkedChildren
from tests.taskrun.conftest import Box

pytestmark = [
    pytest.mark.needs_airflow,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(60),
]


async def until(fact: Callable[[], bool]) -> None:
    """Wait for a condition; the test's own timeout is the deadline."""
    while not fact():  # noqa: ASYNC110 - another process makes it true
        await asyncio.sleep(0.01)


def waiting(spares: PreforkedChildren, zygote: Zygote) -> list[int]:
    return [prepared.child.pid for prepared in spares._waiting.get(zygote, ())]


async def filled(spares: PreforkedChildren, zygote: Zygote) -> list[int]:
    spares.refill(zygote)
    await until(lambda: len(waiting(spares, zygote)) == spares._each)
    return waiting(spares, zygote)


async def test_try_takes_the_child_that_waited_longest(box: Box) -> None:
    spares = PreforkedChildren(each=2)
    first, second = await filled(spares, box.zygote)

    result = await box.run("pid", host=box.host(spares=spares))

    assert [row.value for row in result.xcoms] == [first]
    await until(lambda: len(waiting(spares, box.zygote)) == 2)
    assert waiting(spares, box.zygote)[0] == second
    await spares.close()


async def test_dead_spare_is_not_given_out(box: Box) -> None:
    spares = PreforkedChildren(each=1)
    (pid,) = await filled(spares, box.zygote)
    (prepared,) = spares._waiting[box.zygote]
    os.kill(pid, signal.SIGKILL)
    await prepared.child.exited()

    result = await box.run("pid", host=box.host(spares=spares))

    assert result.state == TaskState.SUCCESS
    assert result.xcoms[0].value != pid
    await spares.close()


async def test_spares_do_not_keep_a_retired_zygote(box: Box) -> None:
    spares = PreforkedChildren()
    zygote = await box.read()
    await filled(spares, zygote)

    zygote.retire()

    await zygote.closed
    assert waiting(spares, zygote) == []
    spares.refill(zygote)
    await spares.close()


async def test_only_the_zygotes_used_last_keep_spares(box: Box) -> None:
    spares = PreforkedChildren(each=1, zygotes=1)
    other = await box.read()
    await filled(spares, box.zygote)

    await filled(spares, other)

    assert waiting(spares, box.zygote) == []
    await spares.close()
    assert waiting(spares, other) == []
    other.close()


async def test_spares_are_let_go_when_no_try_comes(box: Box) -> None:
    spares = PreforkedChildren(each=1, idle_s=1.0)
    (pid,) = await filled(spares, box.zygote)

    await until(lambda: waiting(spares, box.zygote) == [])

    assert await filled(spares, box.zygote) != [pid]
    await spares.close()
