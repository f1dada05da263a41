"""The Task SDK's wire format, on the supervisor's side.

A frame is a big-endian 4-byte length and a msgpack array: requests ``[id, body, carrier?]``,
responses ``[id, body?, error?]`` with trailing nulls left out. A body is an object whose ``type``
names the message. The child has one request in flight and blocks until it is answered, so every
request is: a handler that raises is answered in the error slot, never with silence; so is a request that is
larger than one process should take into memory for another.

Source: Airflow 3.3: ``airflow/sdk/execution_time/comms.py``.
"""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import msgspec

from appliance.forkserver import large_integers

_LOG = logging.getLogger(__name__)
_HEADER_BYTES = 4
_CHUNK_BYTES = 65536
_MOST_BYTES = 1 << 26
_PREFIX_BYTES = 16
_INTEGER_BYTES = {0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8}
"""First byte of a msgpack integer → how many follow it."""
_encode = large_integers.Encoder().encode
_decode = msgspec.msgpack.Decoder(ext_hook=large_integers.read).decode


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
        if isinstance(payload, _Oversized):
            number, reply = _number(payload.prefix), _too_large(payload.size_bytes)
        else:
            number, body, *_ = _decode(payload)
            reply = await _answered(answer, body.pop("type"), body)
        frame = _framed(number, reply)
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


@asynccontextmanager
async def answering(sock: socket.socket, answer: Answer) -> AsyncIterator[None]:
    """Serve ``sock`` meanwhile."""
    task = asyncio.create_task(serve(sock, answer))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


AnswerFor = Callable[[str, dict[str, Any], dict[str, str]], Awaitable[Reply]]
"""The same with the request's third element: what its sender says of itself."""


async def serve_many(sock: socket.socket, answer: AnswerFor) -> None:
    """Answer the requests on a non-blocking ``sock``, many at a time, until the child closes it."""
    loop = asyncio.get_running_loop()
    reader = _Frames(sock)
    writing = asyncio.Lock()

    async def handle(payload: bytes | _Oversized) -> None:
        if isinstance(payload, _Oversized):
            number, reply = _number(payload.prefix), _too_large(payload.size_bytes)
        else:
            number, body, *rest = _decode(payload)
            sender = (rest and rest[0]) or {}
            reply = await _answered(
                lambda kind, body: answer(kind, body, sender), body.pop("type"), body
            )
        with suppress(BrokenPipeError, ConnectionResetError):
            async with writing:
                await loop.sock_sendall(sock, _framed(number, reply))

    async with asyncio.TaskGroup() as tasks:
        while (payload := await reader.next()) is not None:
            tasks.create_task(handle(payload))


async def _answered(answer: Answer, kind: str, body: dict[str, Any]) -> Reply:
    try:
        return await answer(kind, body)
    except Exception as error:  # noqa: BLE001 - the child would wait forever
        _LOG.exception("no answer to %s", kind)
        return _failed(error)


def _framed(number: int, reply: Reply) -> bytes:
    """Make the response frame; an answer that cannot be written is one that failed."""
    try:
        return encode(number, reply)
    except Exception as error:  # noqa: BLE001 - the child would wait forever
        _LOG.exception("the answer cannot be written")
        return encode(number, _failed(error))


def _failed(error: Exception) -> Reply:
    detail = {
        "status_code": None,
        "message": str(error).encode(errors="backslashreplace").decode(),
        "exception_type": type(error).__name__,
    }
    return Reply(error={"error": "API_SERVER_ERROR", "detail": detail})


def _number(prefix: bytes) -> int:
    """Return the number of a request of which only the beginning is there."""
    following = _INTEGER_BYTES.get(prefix[1], 0)
    if following == 0:
        return prefix[1]
    return int.from_bytes(prefix[2 : 2 + following], "big")


def _too_large(size_bytes: int) -> Reply:
    message = (
        f"{size_bytes >> 20} MB in one request; at most {_MOST_BYTES >> 20} MB are taken. "
        "Keep a large value in a file or an object store and pass on where it is"
    )
    return Reply(error={"error": "API_SERVER_ERROR", "detail": {"message": message}})


@dataclass(frozen=True, slots=True)
class _Oversized:
    size_bytes: int
    prefix: bytes


class _Frames:
    """Cuts the byte stream into payloads; one system call a small frame."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._held = bytearray()

    async def next(self) -> bytes | _Oversized | None:
        if not await self._fill(_HEADER_BYTES):
            return None
        size_bytes = int.from_bytes(self._held[:_HEADER_BYTES], "big")
        end = _HEADER_BYTES + size_bytes
        if size_bytes > _MOST_BYTES:
            return await self._skip(end)
        if not await self._fill(end):
            return None
        payload = bytes(self._held[_HEADER_BYTES:end])
        del self._held[:end]
        return payload

    async def _skip(self, size_bytes: int) -> _Oversized | None:
        """Let a frame go by and keep only its beginning."""
        if not await self._fill(_HEADER_BYTES + _PREFIX_BYTES):
            return None
        prefix = bytes(self._held[_HEADER_BYTES : _HEADER_BYTES + _PREFIX_BYTES])
        left_bytes = size_bytes
        while left_bytes > len(self._held):
            left_bytes -= len(self._held)
            self._held.clear()
            if not await self._fill(1):
                return None
        del self._held[:left_bytes]
        return _Oversized(size_bytes - _HEADER_BYTES, prefix)

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
