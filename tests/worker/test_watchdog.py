"""The box says once what somebody should know about its disk and its clock."""

import asyncio
import logging
from pathlib import Path

import pytest

from appliance.worker.clock_changes import Clock
from appliance.worker.watchdog import watching
from tests.config.test_free_disk import ENORMOUS, config
from tests.faults.processes import until


async def test_a_shortage_is_shouted_about_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        async with watching(config(tmp_path, ENORMOUS)):
            await asyncio.to_thread(until, "it is said", lambda: bool(caplog.messages))

    assert len(caplog.messages) == 1


def test_a_clock_that_is_set_is_noticed_once() -> None:
    clock = Clock()
    said = [
        clock.jumped(wall_s=wall_s, steady_s=steady_s)
        for wall_s, steady_s in (
            (1000.0, 10.0),
            (1010.0, 20.0),
            (4610.0, 30.0),
            (4621.0, 40.0),
            (1031.0, 50.0),
        )
    ]

    assert said[:2] == [None, None]
    assert said[2] is not None
    assert said[2].startswith("The clock went 3590 s forward, or the machine slept")
    assert said[3] is None
    assert said[4] is not None
    assert said[4].startswith("The clock was set back by 3600 s: ")
