"""Ports for servers of tests that run beside each other."""

import itertools
import os
import socket

_FIRST, _BLOCKS, _BLOCK = 10_000, 200, 100
_NUMBERS = itertools.cycle(range(_BLOCK))


def free_port() -> int:
    """Return a port that nobody listens on, and that this process has not returned lately.

    Ports that the kernel chooses can be chosen by another process before they are used. These lie below the kernel's own,
    in a block that goes by this process's number.
    """
    block = _FIRST + os.getpid() % _BLOCKS * _BLOCK
    while True:
        port = block + next(_NUMBERS)
        with socket.socket() as bound:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                bound.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
