"""Messages between worker and zygotes: one JSON object per SEQPACKET datagram, with file descriptors.

A datagram holds at most what the socket buffer takes, so bulk travels in a memfd that is the
first descriptor of a datagram saying only ``{"memfd": true}``.
"""

import json
import os
import socket
from collections.abc import Sequence
from typing import Any

LARGEST_DATAGRAM = 60_000
MAX_DESCRIPTORS = 16
_IN_MEMFD = b'{"memfd":true}'


def pair() -> tuple[socket.socket, socket.socket]:
    """Make a control channel; neither end survives an exec."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(
    channel: socket.socket, message: dict[str, Any], fds: Sequence[int] = ()
) -> None:
    """Send one message; the caller keeps its own copies of ``fds``."""
    data = json.dumps(message, separators=(",", ":")).encode()
    if len(data) <= LARGEST_DATAGRAM:
        socket.send_fds(channel, [data], list(fds))
        return
    with os.fdopen(os.memfd_create("message"), "wb") as bulk:
        bulk.write(data)
        bulk.flush()
        socket.send_fds(channel, [_IN_MEMFD], [bulk.fileno(), *fds])


def receive(channel: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """Take the next message and the descriptors it brought; None when the peer is gone."""
    try:
        data, fds, _, _ = socket.recv_fds(
            channel, LARGEST_DATAGRAM + 1, MAX_DESCRIPTORS
        )
    except ConnectionResetError:
        return None
    if not data:
        return None
    for fd in fds:
        os.set_inheritable(fd, False)  # noqa: FBT003 - recvmsg() does not set close-on-exec
    if data == _IN_MEMFD:
        with os.fdopen(fds.pop(0), "rb") as bulk:
            bulk.seek(0)
            data = bulk.read()
    message: dict[str, Any] = json.loads(data)
    return message, fds
