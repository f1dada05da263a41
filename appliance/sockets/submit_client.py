"""Starts a run through the worker of this host, over a Unix socket, without importing the Temporal SDK.

Importing the SDK takes the command longer than all the rest together; the worker has it imported. One request and one
answer a connection, each a line of JSON; the socket is its owner's alone, since a request may carry secrets. Nothing is
done here that the worker would not do for a question that came through the server, and whoever finds the door closed
asks that way.
"""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from appliance.config.model import Config
from appliance.errors import ApplianceError, ConfigError, DagError
from appliance.sockets.submit_request import SubmitRequest, Submitted
from appliance.temporal.limits import check_conf

NAME = "submit.sock"
KINDS: dict[str, type[ApplianceError]] = {
    kind.__name__: kind for kind in (DagError, ConfigError)
}
"""Refusals, by the name they cross the socket with."""


def submit_here(config: Config, request: SubmitRequest) -> Submitted | None:
    """Start a run through the door; None: ask the server, with the same request.

    It is closed to us, or the worker did not come to an answer; then it may have started the run, which the server
    knows by the request's token.

    Raises:
        ApplianceError: as ``Starter.start``.
    """
    check_conf(request.conf)
    line = json.dumps({"to": server_of(config), "request": asdict(request)}).encode()
    with (
        suppress(FileNotFoundError, PermissionError),
        reachable(folder_of(config)) as path,
        socket.socket(socket.AF_UNIX) as sock,
    ):
        try:
            sock.connect(str(path))
        except OSError:
            return None
        with sock.makefile("rwb") as file, suppress(ConnectionError):
            file.write(line + b"\n")
            file.flush()
            if text := file.readline():
                return _understood(json.loads(text))
    return None


def _understood(answer: dict[str, Any]) -> Submitted | None:
    if "error" in answer:
        raise KINDS[answer["error"]](answer["text"])
    return Submitted(**answer["submitted"]) if "submitted" in answer else None


def server_of(config: Config) -> list[Any]:
    """Name the server and queue a box works for; another's door is not knocked at."""
    told = config.temporal
    return [told.address or told.port, told.namespace, told.task_queue]


def folder_of(config: Config) -> Path:
    """Return where the socket is."""
    return config.data / "run" / socket.gethostname()


@contextmanager
def reachable(folder: Path) -> Iterator[Path]:
    """Give the socket a short path: the kernel takes 107 bytes, a data folder may be deeper."""
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield Path(f"/proc/self/fd/{fd}") / NAME
    finally:
        os.close(fd)
