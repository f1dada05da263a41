"""Answers health checks of this host: whether server and worker are well, as the worker sees it."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, replace

from temporalio.client import Client
from temporalio.worker import Worker

from appliance.config.free_disk import shortage
from appliance.config.model import Config
from appliance.sockets.health_client import TIMEOUT_S, socket_name
from appliance.sockets.submit_client import folder_of
from appliance.temporal.health import PartHealth, ProbeResult
from appliance.temporal.server_health import sees_poll, serves


@asynccontextmanager
async def serving_health(
    client: Client,
    config: Config,
    refused: Callable[[], str],
    warnings: Callable[[], Sequence[str]],
    workers: Sequence[Worker],
) -> AsyncIterator[None]:
    """Answer health checks until the block is left.

    Args:
        client: The connection that works.
        config: The configuration.
        refused: Says which workflows cannot begin, and why; empty when all can.
        warnings: Says what the worker goes on without.
        workers: Those of this process; each polls as long as it runs.
    """

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            found = await _probe(client, config, refused(), workers)
            found = replace(found, warnings=warnings())
            writer.write(json.dumps(asdict(found)).encode())
            await writer.drain()
        writer.close()

    folder = folder_of(config)
    folder.mkdir(parents=True, exist_ok=True)
    async with await asyncio.start_unix_server(answer, socket_name(folder)):
        yield


async def _probe(
    client: Client, config: Config, refused: str, workers: Sequence[Worker]
) -> ProbeResult:
    state = PartHealth(ok=not refused, why=refused)
    why_not = shortage(config)
    room = PartHealth(ok=why_not is None, why=why_not or "")
    try:
        async with asyncio.timeout(TIMEOUT_S / 2):
            worker = await sees_poll(client, config)
            if not all(one.is_running for one in workers):
                # The server lists one for minutes after its end.
                worker = PartHealth(ok=False, why="it has stopped to poll the server")
            return ProbeResult(await serves(client), worker, room, state)
    except TimeoutError:
        why = f"the server does not answer within {TIMEOUT_S / 2:g} s"
        silent = PartHealth(ok=False, why=why)
        return ProbeResult(silent, silent, room, state)
