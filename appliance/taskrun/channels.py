"""Sockets between a task's process and the worker, and the lines that come through them.

Everything is linear in the number of bytes: a task that returns 30 MB logs it in one line.
"""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass

from appliance.forkserver import datagrams

MAX_LINE_BYTES = 1_000_000
"""A longer line is cut; a task that prints without ever ending a line must not fill the worker."""
MAX_EVENT_BYTES = 1 << 22
"""The same for an event: a task that returns 200 MB logs it."""
_CHUNK_BYTES = 1 << 18
_DRAIN_BYTES = 1 << 26


@dataclass(frozen=True, slots=True)
class Channels:
    """One side of a try's sockets, in the order ``taskrun.child`` takes them."""

    requests: socket.socket
    stdout: socket.socket
    stderr: socket.socket
    logs: socket.socket
    control: socket.socket

    def fds(self) -> list[int]:
        """Return the descriptors, in order."""
        return [sock.fileno() for sock in self._all()]

    def close(self) -> None:
        """Close them all."""
        for sock in self._all():
            sock.close()

    def _all(self) -> tuple[socket.socket, ...]:
        return (self.requests, self.stdout, self.stderr, self.logs, self.control)


def open_channels() -> tuple[Channels, Channels]:
    """Make the worker's side (non-blocking) and the child's."""
    pairs = [socket.socketpair() for _ in range(4)]
    pairs.append(datagrams.pair())
    for ours, _ in pairs:
        ours.settimeout(0)
    return Channels(*(pair[0] for pair in pairs)), Channels(
        *(pair[1] for pair in pairs)
    )


class Lines:
    """Reads one socket in the background and hands on its lines, without their newline."""

    def __init__(
        self,
        sock: socket.socket,
        emit: Callable[[bytes], object],
        *,
        max_bytes: int = MAX_LINE_BYTES,
    ) -> None:
        self._sock = sock
        self._emit = emit
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []
        self._held_bytes = 0
        self.is_open = True
        self._loop = asyncio.get_running_loop()
        self._fd = (
            sock.fileno()
        )  # A number: asyncio formats what it is given, and a socket is slow.
        self._loop.add_reader(self._fd, self._read)

    def drain(self) -> None:
        """Take what is there now, without waiting. What a process wrote before it said so is there."""
        taken = 0
        while self.is_open and taken < _DRAIN_BYTES:
            got = self._read()
            if not got:
                break
            taken += got

    def close(self) -> None:
        """Take what is there, hand on an unfinished line, stop reading."""
        self.drain()
        self._end()

    def _end(self) -> None:
        if self.is_open:
            self.is_open = False
            self._loop.remove_reader(self._fd)
        if self._parts:
            self._finish()

    def _read(self) -> int:
        try:
            chunk = self._sock.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return 0
        except ConnectionResetError:
            chunk = b""
        if not chunk:
            self._end()
            return 0
        *complete, rest = chunk.split(b"\n")
        for line in complete:
            self._hold(line)
            self._finish()
        if rest:
            self._hold(rest)
        return len(chunk)

    def _hold(self, part: bytes) -> None:
        room = self._max_bytes - self._held_bytes
        if room > 0:
            self._parts.append(part[:room])
        self._held_bytes += len(part)

    def _finish(self) -> None:
        line = b"".join(self._parts)
        if self._held_bytes > self._max_bytes:
            line += b" ... [%d bytes cut]" % (self._held_bytes - self._max_bytes)
        self._parts.clear()
        self._held_bytes = 0
        self._emit(line)
