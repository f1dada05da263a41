"""Lines out of a socket, however they were cut into pieces."""

import asyncio
import socket
import time

import pytest

from appliance.taskrun.channels import Lines


def read(
    pieces: list[bytes], *, max_bytes: int = 10, then_close: bool = True
) -> list[bytes]:
    """Write the pieces one by one and return the lines."""

    async def run() -> list[bytes]:
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        got: list[bytes] = []
        lines = Lines(ours, got.append, max_bytes=max_bytes)
        for piece in pieces:
            theirs.sendall(piece)
            lines.drain()
        if then_close:
            theirs.close()
        lines.close()
        theirs.close()
        ours.close()
        return got

    return asyncio.run(run())


@pytest.mark.parametrize("then_close", [True, False])
@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([], []),
        ([b"a\nb\n"], [b"a", b"b"]),
        ([b"a", b"b\nc", b"\n\n"], [b"ab", b"c", b""]),
        ([b"unfinished"], [b"unfinished"]),
        ([b"0123456789\n"], [b"0123456789"]),
        ([b"0123456789", b"abc", b"d\nx\n"], [b"0123456789 ... [4 bytes cut]", b"x"]),
    ],
)
def test_lines(pieces: list[bytes], lines: list[bytes], then_close: bool) -> None:
    assert read(pieces, then_close=then_close) == lines


def test_one_endless_line_takes_linear_time() -> None:
    begin = time.monotonic()

    (line,) = read([b"x" * 50_000] * 1000, max_bytes=1_000_000)

    assert len(line) < 1_000_100
    assert time.monotonic() - begin < 5
