"""Starts runs for ``appliance.sockets.submit_client``."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import Any

from appliance.config.model import Config, Connection, Secrets
from appliance.sockets.submit_client import KINDS, NAME, folder_of, reachable, server_of
from appliance.sockets.submit_request import SubmitRequest, Submitted

_MOST_BYTES = 16 * 1024 * 1024

# From 3.13 on asyncio removes the socket at the end, by a path that is no longer valid then.
_KEEP_SOCKET: dict[str, Any] = (
    {"cleanup_socket": False} if sys.version_info >= (3, 13) else {}
)

Start = Callable[[SubmitRequest], Awaitable[Submitted]]


@asynccontextmanager
async def serving_submissions(config: Config, start: Start) -> AsyncIterator[None]:
    """Keep the door open; ``start`` starts a run. A box that cannot have one works without."""
    folder = folder_of(config)
    folder.mkdir(parents=True, exist_ok=True)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            answer = await _answer(await reader.readline(), config, start)
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    with reachable(folder) as path:
        path.unlink(missing_ok=True)
        mask = os.umask(0o177)
        try:
            server = await asyncio.start_unix_server(
                serve, path, limit=_MOST_BYTES, **_KEEP_SOCKET
            )
        finally:
            os.umask(mask)
    async with server:
        yield
    (folder / NAME).unlink(missing_ok=True)


async def _answer(line: bytes, config: Config, start: Start) -> dict[str, Any]:
    asked = json.loads(line)
    if asked["to"] != server_of(config):
        return {"elsewhere": True}
    try:
        return {"submitted": asdict(await start(_request(asked["request"])))}
    except tuple(KINDS.values()) as err:
        return {"error": type(err).__name__, "text": str(err)}
    except Exception as err:  # noqa: BLE001 - who asked is told, and asks the server
        return {"elsewhere": True, "why": str(err)}


def _request(body: dict[str, Any]) -> SubmitRequest:
    secrets = body.pop("secrets")
    if secrets is not None:
        connections = {
            name: Connection(**fields)
            for name, fields in secrets["connections"].items()
        }
        secrets = Secrets(connections, secrets["variables"])
    return SubmitRequest(**body, secrets=secrets)
