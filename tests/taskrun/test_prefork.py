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


def waiting(preforked: PreforkedChildren, zygote: Zygote) -> list[int]:
    return [prepared.child.pid for prepared in preforked._waiting.get(zygote, ())]


async def filled(preforked: PreforkedChildren, zygote: Zygote) -> list[int]:
    preforked.refill(zygote)
    await until(lambda: len(waiting(preforked, zygote)) == preforked._each)
    return waiting(preforked, zygote)


async def test_try_takes_the_child_that_waited_longest(box: Box) -> None:
    preforked = PreforkedChildren(each=2)
    first, second = await filled(preforked, box.zygote)

    result = await box.run("pid", host=box.host(preforked=preforked))

    assert [row.value for row in result.xcoms] == [first]
    await until(lambda: len(waiting(preforked, box.zygote)) == 2)
    assert waiting(preforked, box.zygote)[0] == second
    await preforked.close()


async def test_dead_spare_is_not_given_out(box: Box) -> None:
    preforked = PreforkedChildren(each=1)
    (pid,) = await filled(preforked, box.zygote)
    (prepared,) = preforked._waiting[box.zygote]
    os.kill(pid, signal.SIGKILL)
    await prepared.child.exited()

    result = await box.run("pid", host=box.host(preforked=preforked))

    assert result.state == TaskState.SUCCESS
    assert result.xcoms[0].value != pid
    await preforked.close()


async def test_preforked_children_do_not_keep_a_retired_zygote(box: Box) -> None:
    preforked = PreforkedChildren()
    zygote = await box.read()
    await filled(preforked, zygote)

    zygote.retire()

    await zygote.closed
    assert waiting(preforked, zygote) == []
    preforked.refill(zygote)
    await preforked.close()


async def test_only_the_zygotes_used_last_keep_preforked_children(box: Box) -> None:
    preforked = PreforkedChildren(each=1, zygotes=1)
    other = await box.read()
    await filled(preforked, box.zygote)

    await filled(preforked, other)

    assert waiting(preforked, box.zygote) == []
    await preforked.close()
    assert waiting(preforked, other) == []
    other.close()


async def test_preforked_children_are_let_go_when_no_try_comes(box: Box) -> None:
    preforked = PreforkedChildren(each=1, idle_s=1.0)
    (pid,) = await filled(preforked, box.zygote)

    await until(lambda: waiting(preforked, box.zygote) == [])

    assert await filled(preforked, box.zygote) != [pid]
    await preforked.close()
