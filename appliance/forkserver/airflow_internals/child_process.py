"""Channels, exit code and main function of a task's process, as Airflow's supervisor sets them up.

Pinned to the names listed in ``pinned_names``.
"""

import atexit
import faulthandler
import os
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress

from airflow.sdk.execution_time import supervisor, task_runner

LOG_FD = 63
"""Where Airflow's loggers write JSON lines; nowhere, until a child puts its own channel there."""
_DIED_ODDLY = 126


def redirect_logs(fd: int) -> None:
    """Send Airflow's log lines to ``fd`` from now on; the caller closes its own copy."""
    os.dup2(fd, LOG_FD, inheritable=False)


def take_channels(
    requests: socket.socket, stdout: socket.socket, stderr: socket.socket, logs_fd: int
) -> None:
    """Put the supervisor's sockets where the task runner and user code expect them."""
    supervisor._reset_signals()  # noqa: SLF001 - listed in pinned_names
    redirect_logs(logs_fd)
    supervisor._reopen_std_io_handles(requests, stdout, stderr)  # noqa: SLF001 - listed in pinned_names
    # What kills an interpreter leaves a traceback in the log; a copy, as user code may close fd 2.
    faulthandler.enable(os.dup(stderr.fileno()))


def exit_code_of(target: Callable[[], None]) -> int:
    """Run ``target`` as Airflow's ``supervisor._fork_main`` does and return the exit code.

    Only exit functions registered after the fork run.
    """
    with suppress(AttributeError):
        atexit._clear()  # noqa: SLF001 - what Airflow does
    code = 0
    try:
        target()
    except SystemExit as stop:
        code = _code(stop)
    except Exception:  # noqa: BLE001 - the last frame of a process: say it and end
        code = _DIED_ODDLY
        with suppress(ValueError, OSError):  # User code may have closed it.
            traceback.print_exc(file=sys.stderr)
    with suppress(AttributeError):
        atexit._run_exitfuncs()  # noqa: SLF001 - what Airflow does
    for stream in (sys.stdout, sys.stderr):
        with suppress(ValueError, OSError):
            stream.flush()
    return code


def _code(stop: SystemExit) -> int:
    if isinstance(stop.code, int):
        return stop.code
    if stop.code:
        sys.stderr.write(f"{stop.code}\n")
        return 1
    return 1


def run_task() -> None:
    """Run one try with the real task runner; its orders come over fd 0."""
    task_runner.main()
