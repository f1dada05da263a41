"""An appliance that is up only for the commands of one other command."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from appliance.errors import ApplianceError

_STOP_S = 60.0
_LAST_LINES = 15
_TERMINATED = 143


class BackgroundFailed(ApplianceError):
    """The appliance in the background did not stay up or did not stop."""

    def __init__(self, text: str, *, exit_code: int = 1) -> None:
        super().__init__(text)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class Background:
    """The appliance, and where its output goes."""

    process: subprocess.Popen[bytes]
    environ: Mapping[str, str]
    log: Path

    def run(self, *words: str) -> int:
        """Run a command to its end, as long as the appliance is up; return its exit code."""
        command = subprocess.Popen(
            _command(*words), env=self.environ, stdin=subprocess.DEVNULL
        )
        try:
            self._wait_for(command)
            if command.poll() is None:
                raise BackgroundFailed(
                    f"{self._last()}\nThe appliance did not stay up, see above.",
                    exit_code=self.process.wait() or 1,
                )
        finally:
            command.kill()
        return command.wait()

    def _wait_for(self, command: subprocess.Popen[bytes]) -> None:
        """Return when the command has ended, or the appliance."""
        with ExitStack() as stack:
            fds = []
            for process in (command, self.process):
                fds.append(os.pidfd_open(process.pid))
                stack.callback(os.close, fds[-1])
            select.select(fds, [], [])

    def stop(self) -> None:
        """Stop it in order. Raises: BackgroundFailed when it goes on."""
        self.process.terminate()
        try:
            self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired as err:
            self.process.kill()
            raise BackgroundFailed(
                f"{self._last()}\nThe appliance did not stop."
            ) from err

    def _last(self) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-_LAST_LINES:])


@contextmanager
def background(data: Path) -> Iterator[Background]:
    """Start an appliance on ``data`` and stop it at the end, also after SIGTERM.

    Raises:
        BackgroundFailed: it did not stop.
    """
    environ = {**os.environ, "APPLIANCE_DATA": str(data)}
    path = data / "up.log"
    before = signal.signal(signal.SIGTERM, _terminated)
    path.touch(0o600)  # What tasks print is in there.
    with path.open("wb") as log:
        # Its own session: Ctrl-C is for us, who then stop it in order.
        process = subprocess.Popen(
            _command("up"),
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    box = Background(process, environ, path)
    try:
        yield box
    finally:
        box.stop()
        signal.signal(signal.SIGTERM, before)


def _terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(_TERMINATED)


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "appliance", *words]
