"""A file system that is slow, or does not answer at all, holds nobody up."""

import asyncio
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from appliance.dagfile.file_stamps import FolderStamps
from appliance.dagfile.folder_scan import FolderScan, in_time
from appliance.errors import DagError

pytestmark = pytest.mark.asyncio


class Disk:
    """Files of one name, and looks at them that may hang."""

    def __init__(self) -> None:
        self.version = "one"
        self.answers = threading.Event()
        self.answers.set()
        self.looks = 0

    def look(self, now: float) -> FolderStamps:
        self.looks += 1
        seen = self.version
        assert self.answers.wait(30)
        return FolderStamps(now, {}, seen)


@pytest.fixture
def disk() -> Iterator[Disk]:
    made = Disk()
    yield made
    made.answers.set()


async def test_while_it_hangs_the_last_look_counts_and_that_is_told(disk: Disk) -> None:
    lookout = FolderScan(disk.look, clock=time.monotonic, patience_s=0.2)
    before = await lookout.look(0)
    disk.answers.clear()
    disk.version = "two"

    seen = await asyncio.gather(*(lookout.look(0) for _ in range(50)))

    assert seen == [before] * 50
    assert "has not answered for 0.2 s" in str(lookout.trouble)
    assert disk.looks == 2  # one thread, however many ask
    disk.answers.set()
    now = await lookout.look(0)
    assert now is not None
    assert (now.digest, lookout.trouble) == ("two", None)


async def test_what_was_never_seen_is_nothing(disk: Disk) -> None:
    disk.answers.clear()
    lookout = FolderScan(disk.look, clock=time.monotonic, patience_s=0.1)

    assert await lookout.look(0) is None
    assert lookout.trouble is not None


async def test_whoever_asks_at_whatever_moment_has_an_answer(disk: Disk) -> None:
    """Also in between the end of a look and when those hear of it who wait; one who asked then kept all others waiting."""
    lookout = FolderScan(disk.look, clock=time.monotonic, patience_s=10)
    answered = 0

    async def ask_often() -> None:
        nonlocal answered
        for pause in range(50):
            for _ in range(pause % 5):
                await asyncio.sleep(0)
            found = await lookout.look(0)
            answered += found is not None

    await asyncio.gather(*(ask_often() for _ in range(20)))

    assert answered == 1000


async def test_who_asks_amid_a_look_gets_the_next(disk: Disk) -> None:
    """What was saved meanwhile may have been passed already."""
    lookout = FolderScan(disk.look, clock=time.monotonic, patience_s=10)
    disk.answers.clear()
    first = asyncio.create_task(lookout.look(0))
    while not disk.looks:  # noqa: ASYNC110 - a thread counts it
        await asyncio.sleep(0.01)
    disk.version = "two"
    second = asyncio.create_task(lookout.look(0))
    await asyncio.sleep(0)
    disk.answers.set()

    assert [getattr(await one, "digest", None) for one in (first, second)] == [
        "one",
        "two",
    ]
    assert disk.looks == 2


async def test_a_folder_that_is_absent_leaves_the_last_look(disk: Disk) -> None:
    walks = [
        FolderStamps(0.0, {}, "one"),
        FolderStamps(0.0, {}, "none", absent="is gone"),
    ]
    lookout = FolderScan(
        lambda now: replace(walks[disk.looks], taken_at=now), clock=time.monotonic
    )
    good = await lookout.look(0)
    disk.looks = 1

    assert await lookout.look(0) == good
    assert lookout.trouble == "is gone"


async def test_work_with_files_is_given_up_in_time(disk: Disk) -> None:
    disk.answers.clear()

    with pytest.raises(DagError, match=r"has not answered for 0\.1 s"):
        await in_time(disk.answers.wait, patience_s=0.1)
