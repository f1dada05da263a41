"""What a worker answers to the health checks of its host."""

from dataclasses import replace
from pathlib import Path

import pytest
from temporalio.worker import Worker

from appliance.config.model import Config, TemporalSettings
from appliance.sockets.health_server import serving_health
from appliance.sockets.probe import probe
from appliance.worker_questions.workflow import AskApplianceWorker
from tests.temporal.servers import serving


@pytest.mark.needs_server
async def test_a_worker_that_polls_no_more_is_not_well(tmp_path: Path) -> None:
    """The server goes on listing it for minutes."""
    config = Config(tmp_path / "c", tmp_path)
    config = replace(config, temporal=TemporalSettings(task_queue="q"))
    async with serving() as client:
        worker = Worker(client, task_queue="q", workflows=[AskApplianceWorker])
        async with serving_health(client, config, str, list, [worker]):
            async with worker:
                while not (found := await probe(client, config)).worker.ok:
                    assert "poll" in found.worker.why
            stopped = await probe(client, config)

    assert (stopped.server.ok, stopped.worker.ok) == (True, False)
    assert stopped.worker.why == "it has stopped to poll the server"
