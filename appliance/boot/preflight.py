"""Checks of folders and ports before anything starts, which report all problems at once."""

import errno
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

from appliance.boot.file_permissions import close
from appliance.config.file_access import closed, denied
from appliance.config.model import Config
from appliance.config.sizes import size
from appliance.errors import ApplianceError

_LEAST_FREE_BYTES = 20_000_000
"""Room for a new database with its log, and for messages about what is wrong."""


class NotReady(ApplianceError):
    """The appliance cannot start as things are; the text has one or two lines per reason."""


def check(config: Config, *, platform: str) -> None:
    """Make the data folder and look whether everything is at hand.

    Args:
        config: what is about to start.
        platform: ``sys.platform``.

    Raises:
        NotReady: with every reason.
    """
    if platform != "linux":
        raise NotReady(
            f"The appliance needs Linux (forked tasks, pidfd), this is {platform}. "
            "Run the container image instead: see README.md."
        )
    reasons = [*_folders(config), *_ports(config)]
    if reasons:
        raise NotReady("\n".join(reasons))


def _folders(config: Config) -> Iterator[str]:
    try:
        config.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        yield f"{config.data}: is a file, but the data folder has to be there."
    except OSError:
        barred = closed(config.data.parent)
        if barred is not None:
            yield denied(barred, "read", config.data)
        else:
            yield denied(_existing(config.data), "written", config.data)
    else:
        close(config.data)
        yield from _writable(config.data)
    if config.key_path is not None:
        yield from _key(config.key_path)
    if config.runs_worker:
        yield from _readable(config.dags.folder)
        if _may_exist(config.dags.plugins_folder):
            yield from _readable(config.dags.plugins_folder)


def _writable(data: Path) -> Iterator[str]:
    free = shutil.disk_usage(data).free
    if free < _LEAST_FREE_BYTES:
        yield (
            f"{data}: {size(free)} of disk space are free there, too little to start "
            f"with. Make room: at least {size(_LEAST_FREE_BYTES)}."
        )
    server = ("temporal.db", "temporal.db-wal", "temporal.db-shm")
    kept = (*server, "keys", "logs", "xcom", "run")
    for path in (data, *(data / name for name in kept)):
        if path.exists() and not os.access(path, _needed(path)):
            yield denied(path, "written", path)


def _key(path: Path) -> Iterator[str]:
    shut = closed(path.parent)
    if shut:
        yield denied(shut, "read", path)
    elif not path.parent.is_dir():
        yield f"{path.parent}: does not exist, but APPLIANCE_KEY_FILE is to be there."
    elif path.exists() and not os.access(path, os.R_OK):
        yield denied(path, "read", path)
    elif not path.exists() and not os.access(path.parent, os.W_OK):
        yield denied(path.parent, "written", path)


def _needed(path: Path) -> int:
    return os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)


def _readable(folder: Path) -> Iterator[str]:
    shut = closed(folder)
    if shut:
        yield denied(shut, "read", folder)
    elif not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        yield (
            f"{folder}: {what}, but the DAG files have to be there. Make it, or set "
            "AIRFLOW__CORE__DAGS_FOLDER."
        )


def _may_exist(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:  # A folder on the way is closed, which `_readable` says.
        return True


def _existing(path: Path) -> Path:
    return next(up for up in path.parents if up.exists())


def _ports(config: Config) -> Iterator[str]:
    if not config.runs_server:
        return
    settings = config.temporal
    wanted = (
        (settings.ip, settings.port, "Temporal", "port"),
        (settings.ui_ip, settings.ui_port, "the Temporal UI", "ui_port"),
        (settings.ip, settings.metrics_port, "Temporal's metrics", "metrics_port"),
    )
    for ip, port, owner, key in wanted:
        reason = _port_problem(ip, port)
        if reason:
            yield (
                f"port {port} on {ip}, meant for {owner}, {reason}. Free it, or set "
                f"APPLIANCE_{key.upper()} (temporal.{key} in {config.file.name})."
            )


def _port_problem(ip: str, port: int) -> str | None:
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            ip, port, type=socket.SOCK_STREAM
        )[0]
    except OSError as err:
        return f"cannot be used: {err.strerror or err}"
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(where)
            probe.listen(1)
        except OSError as err:
            if err.errno == errno.EADDRINUSE:
                return "is taken by another program"
            return f"cannot be used: {err.strerror}"
    return None
