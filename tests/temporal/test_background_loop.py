"""Work that a worker repeats goes on whatever goes wrong, and says so once."""

import asyncio
import logging
from pathlib import Path

import pytest

from appliance.config.model import Config
from appliance.temporal.background_loop import repeating
from appliance.worker.config_reload import reloading
from appliance.worker.watchdog import watching
from tests.config.test_free_disk import config
from tests.faults.processes import until

NOTHING_FREE_BELOW = 1


async def eventually(caplog: pytest.LogCaptureFixture, text: str) -> str:
    """Return the first line that has ``text``."""

    def said() -> list[str]:
        return [line for line in caplog.messages if text in line]

    await asyncio.to_thread(until, f"{text!r} is said", lambda: bool(said()))
    return said()[0]


async def test_what_fails_is_told_once_done_again_and_told_to_be_well(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls = 0
    done = asyncio.Event()

    async def look() -> float:
        nonlocal calls
        calls += 1
        if calls <= 2:
            raise PermissionError("no entry")
        if calls == 3:
            return 0.0
        done.set()
        return 60.0

    with caplog.at_level(logging.WARNING):
        async with repeating("the weather is not told", look), asyncio.timeout(20):
            await done.wait()

    assert caplog.messages == [
        "the weather is not told: no entry; trying again",
        "no longer: the weather is not told",
    ]
    assert "Traceback" not in caplog.text


async def test_a_bug_keeps_its_traceback_and_ends_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls: list[None] = []
    again = asyncio.Event()

    async def look() -> float:
        calls.append(None)
        if len(calls) > 1:
            again.set()
            return 60.0
        raise KeyError("x")

    async with repeating("it", look), asyncio.timeout(20):
        await again.wait()

    assert "in look" in caplog.text


async def test_room_and_logs_are_watched_again_when_the_data_folder_is_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "data"
    with caplog.at_level(logging.WARNING):
        async with watching(config(data, NOTHING_FREE_BELOW)):
            room = "the room on the disk is not watched"
            said = await eventually(caplog, room)
            assert str(data) in said
            data.mkdir()
            await eventually(caplog, f"no longer: {room}")


async def test_a_configuration_that_cannot_be_taken_once_is_read_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    given = config(tmp_path, NOTHING_FREE_BELOW)
    file = given.file
    file.parent.mkdir()
    taken: list[Config] = []

    def load() -> Config:
        if not taken:
            taken.append(given)
            raise OSError("the disk is on fire")
        return given

    with caplog.at_level(logging.INFO):
        async with reloading(given, load, ()):
            file.write_text("worker:\n  parallelism: 1\n")
            await eventually(caplog, "the disk is on fire")
            await eventually(caplog, "no longer: a saved configuration")
