"""The two commands, ``appliance`` and ``submit``; ``python -m appliance`` is the first."""

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from appliance.terminal import protect

if TYPE_CHECKING:
    import click

_INTERRUPTED = 130
_DAEMONS = ("up", "worker")
"""Commands that run until they are stopped; being stopped early is no failure."""


def main() -> NoReturn:
    """Run ``appliance``."""
    if sys.argv[1:2] and sys.argv[1] in _DAEMONS:
        _end_well_when_told()

    def command() -> "click.Command":
        from appliance.cli.main import appliance

        return appliance

    _run(command, "appliance")


def submit() -> NoReturn:
    """Run ``submit``, importing nothing that only other commands need."""

    def command() -> "click.Command":
        from appliance.cli.submission import submit

        return submit

    _run(command, "submit")


def _end_well_when_told() -> None:
    """End with 0 on SIGTERM, until supervisord or the worker is far enough to stop in order."""
    import signal

    def end(_signal: int, _frame: object) -> NoReturn:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)


def _run(find: Callable[[], "click.Command"], name: str) -> NoReturn:
    """End the process without Python's finalisation.

    Threads of the Temporal SDK may call into the interpreter while it is taken down, which
    aborts the process and loses the exit code; it also takes longer than some commands.
    """
    code: object = 1
    _open_closed_streams()
    protect()
    try:
        find()(prog_name=name)
    except SystemExit as ended:
        code = ended.code
    except KeyboardInterrupt:  # in the moments before the command runs
        code = _INTERRUPTED
    except BaseException:  # noqa: BLE001 - as Python itself would at the top
        sys.excepthook(*sys.exc_info())
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # whoever read our output is gone
        code = code or 1
    os._exit(code if isinstance(code, int) else 0 if code is None else 1)


def _open_closed_streams() -> None:
    """Keep what we open from being taken for a standard stream that our caller had closed."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number
            os.set_inheritable(fd, True)  # noqa: FBT003 - its only form
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(fd, "w" if fd else "r", closefd=False))


if __name__ == "__main__":
    main()
