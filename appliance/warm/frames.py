"""The Task SDK's wire, supervisor's side.

A frame is a big-endian 4-byte length and a msgpack array: requests ``[id, body, carrier?]``,
responses ``[id, body?, error?]`` with trailing nulls left out. A body is an object whose ``type``
names the message. The child has one request in flight and blocks until it is answered, so every
request is: a handler that raises is answered in the error slot, never with silence.

Source: Airflow 3.3: ``airflow/sdk/execution_time/comms.py``.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

_LOG = logging.getLogger(__name__)
_HEADER_BYTES = 4
_CHUNK_BYTES = 65536
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. ``Reply()`` means "done, nothing to say"; results, "not found" too, are a body."""

    body: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    """Makes the child raise ``AirflowRuntimeError``; an ``ErrorResponse`` without its type."""
    fds: tuple[int, ...] = ()
    """Sent beside the frame and closed here afterwards."""


Answer = Callable[[str, dict[str, Any]], Awaitable[Reply]]
"""``answer(kind, body)``: the message's type, and its fields without it."""


def encode(number: int, reply: Reply) -> bytes:
    """Make the response frame to request ``number``."""
    parts: list[Any] = [number]
    if reply.body is not None or reply.error is not None:
        parts.append(reply.body)
    if reply.error is not None:
        parts.append({"type": "ErrorResponse", **reply.error})
    payload = _encode(parts)
    return len(payload).to_bytes(_HEADER_BYTES, "big") + payload


def opening(body: dict[str, Any]) -> bytes:
    """Make the frame a supervisor sends unasked: what the child is to do."""
    return encode(0, Reply(body))


async def serve(sock: socket.socket, answer: Answer) -> None:
    """Answer the requests on a non-blocking ``sock`` one by one, until the child closes it."""
    loop = asyncio.get_running_loop()
    reader = _Frames(sock)
    while (payload := await reader.next()) is not None:
        number, body, *_ = _decode(payload)
        kind = body.pop("type")
        reply = await _answered(answer, kind, body)
        frame = encode(number, reply)
        try:
            if reply.fds:
                socket.send_fds(sock, [frame], list(reply.fds))
            else:
                await loop.sock_sendall(sock, frame)
        except (BrokenPipeError, ConnectionResetError):
            return  # The child ended without waiting for the answer.
        finally:
            for fd in reply.fds:
                os.close(fd)


async def _answered(answer: Answer, kind: str, body: dict[str, Any]) -> Reply:
    try:
        return await answer(kind, body)
    except Exception as error:  # noqa: BLE001 - the child would wait forever
        _LOG.exception("no answer to %s", kind)
        detail = {
            "status_code": None,
            "message": str(error),
            "exception_type": type(error).__name__,
        }
        return Reply(error={"error": "API_SERVER_ERROR", "detail": detail})


class _Frames:
    """Cuts the byte stream into payloads; one system call a small frame."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._held = bytearray()

    async def next(self) -> bytes | None:
        if not await self._fill(_HEADER_BYTES):
            return None
        end = _HEADER_BYTES + int.from_bytes(self._held[:_HEADER_BYTES], "big")
        if not await self._fill(end):
            return None
        payload = bytes(self._held[_HEADER_BYTES:end])
        del self._held[:end]
        return payload

    async def _fill(self, size_bytes: int) -> bool:
        loop = asyncio.get_running_loop()
        while len(self._held) < size_bytes:
            try:
                chunk = await loop.sock_recv(self._sock, _CHUNK_BYTES)
            except ConnectionResetError:
                return False
            if not chunk:
                return False
            self._held += chunk
        return True
