"""The wire, against a hand-made client."""

import asyncio
import os
import socket
from typing import Any

import msgspec
import pytest

from appliance.forkserver import large_integers
from appliance.forkserver.frames import Reply, encode, opening, serve


def request(number: int, body: dict[str, Any]) -> bytes:
    payload = large_integers.Encoder().encode([number, body])
    return len(payload).to_bytes(4, "big") + payload


def decoded(frame: bytes) -> Any:
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    return msgspec.msgpack.decode(frame[4:], ext_hook=large_integers.read)


def exchange(data: bytes, answer: Any) -> list[Any]:
    """Send bytes, close, and return the decoded responses."""

    async def run() -> bytes:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        serving = asyncio.create_task(serve(ours, answer))
        for at in range(0, len(data), 70_000):
            await loop.sock_sendall(theirs, data[at : at + 70_000])
        theirs.shutdown(socket.SHUT_WR)
        await serving
        ours.close()
        received = b""
        while chunk := await loop.sock_recv(theirs, 1 << 20):
            received += chunk
        theirs.close()
        return received

    rest = asyncio.run(run())
    frames = []
    while rest:
        end = 4 + int.from_bytes(rest[:4], "big")
        frames.append(decoded(rest[:end]))
        rest = rest[end:]
    return frames


async def echo(kind: str, body: dict[str, Any]) -> Reply:
    return Reply(body={"type": kind, **body})


async def silent(_kind: str, _body: dict[str, Any]) -> Reply:
    return Reply()


async def broken(_kind: str, _body: dict[str, Any]) -> Reply:
    raise LookupError("nothing there")


def test_trailing_nulls_are_left_out() -> None:
    error = {"error": "GENERIC_ERROR", "detail": None}

    assert decoded(encode(3, Reply())) == [3]
    assert decoded(encode(3, Reply(body={"type": "A"}))) == [3, {"type": "A"}]
    assert decoded(encode(3, Reply(error=error))) == [
        3,
        None,
        {"type": "ErrorResponse", **error},
    ]
    assert decoded(opening({"type": "A"})) == [0, {"type": "A"}]


def test_requests_are_answered_in_order() -> None:
    data = request(1, {"type": "A", "x": 1}) + request(2, {"type": "B"})

    assert exchange(data, echo) == [[1, {"type": "A", "x": 1}], [2, {"type": "B"}]]
    assert exchange(data, silent) == [[1], [2]]


def test_large_and_cut_frames() -> None:
    large = request(1, {"type": "A", "text": "x" * 3_000_000})

    assert exchange(large, silent) == [[1]]
    assert exchange(large[:-1], silent) == []
    assert exchange(large[:3], silent) == []


@pytest.mark.parametrize("number", [1, 200, 70_000])
def test_a_request_too_large_to_take_is_answered_without_taking_it(number: int) -> None:
    large = request(number, {"type": "A", "text": "x" * 70_000_000})

    refused, (last, body) = exchange(large + request(number + 1, {"type": "B"}), echo)

    assert refused[:2] == [number, None]
    assert "66 MB in one request; at most 64 MB" in refused[2]["detail"]["message"]
    assert (last, body) == (number + 1, {"type": "B"})
    assert exchange(large[:-1], echo) == []


def test_handler_that_raises_is_an_error_reply() -> None:
    ((number, body, error),) = exchange(request(5, {"type": "A"}), broken)

    assert (number, body) == (5, None)
    assert error["type"] == "ErrorResponse"
    assert error["detail"]["message"] == "nothing there"


def test_descriptors_travel_with_the_reply() -> None:
    async def run() -> bytes:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        reading, writing = os.pipe()

        async def answer(_kind: str, _body: dict[str, Any]) -> Reply:
            return Reply(body={"type": "SentFDs", "fds": [writing]}, fds=(writing,))

        serving = asyncio.create_task(serve(ours, answer))
        theirs.sendall(request(1, {"type": "ResendLoggingFD"}))
        await asyncio.sleep(0)
        _, fds, _, _ = await asyncio.to_thread(socket.recv_fds, theirs, 4, 1)
        os.write(fds[0], b"hello")
        os.close(fds[0])
        theirs.close()
        await serving
        ours.close()
        try:
            return os.read(reading, 10) + os.read(reading, 10)
        finally:
            os.close(reading)

    assert asyncio.run(run()) == b"hello"


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**4299, -(2**63), 2**64 - 1])
def test_integers_of_any_size_cross(number: int) -> None:
    body = {"type": "A", "x": [{"y": number}], "is": True, "f": 1.0}

    assert exchange(request(1, body), echo) == [[1, body]]


def test_an_answer_that_cannot_be_written_is_an_error() -> None:
    async def half(_kind: str, _body: dict[str, Any]) -> Reply:
        return Reply(body={"value": "\ud800"})

    ((_, nothing, error),) = exchange(request(1, {"type": "A"}), half)

    assert nothing is None
    assert error["error"] == "API_SERVER_ERROR"
    assert error["detail"]["exception_type"] == "UnicodeEncodeError"
