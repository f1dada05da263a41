"""An appliance that runs only as long as the commands of one other command."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from appliance.errors import ApplianceError

_START_S = 600.0
"""A start takes five seconds; with a tenth of a CPU, or a busy machine, minutes."""
_SAYINGS = 20
"""How many messages at most say that it is still starting: one per half minute."""
_LOOK_S = 0.05
_UNREACHABLE = 3
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
    """The appliance, and its data folder."""

    process: subprocess.Popen[bytes]
    environ: Mapping[str, str]
    data: Path

    @property
    def log(self) -> Path:
        """Where it prints."""
        return self.data / "up.log"

    def wait(self, start_s: float) -> None:
        """Wait until server and worker are well, as long as the appliance is up; say now and then that it starts.

        Raises:
            BackgroundFailed: it ended, or is not well after ``start_s``.
        """
        began = said = time.monotonic()
        while not self._is_well():
            if self.process.poll() is not None:
                raise self._ended()
            now = time.monotonic()
            if now - began > start_s:
                text = f"{self._last()}\nThe appliance is not well after {start_s:g} s."
                raise BackgroundFailed(text, exit_code=_UNREACHABLE)
            if now - said > start_s / _SAYINGS:
                said = now
                text = f"The appliance is still starting, after {now - began:.0f} s."
                sys.stderr.write(f"{self._last(1)}\n{text}\n".lstrip())
            time.sleep(_LOOK_S)

    def _is_well(self) -> bool:
        # Only these commands need it, and it costs more to import than --help may take.
        from appliance.boot.run_folder import run_folder
        from appliance.sockets.health_client import ask

        try:
            health = ask(run_folder(self.data))
        except (OSError, ValueError):
            return False
        # Room is for `submit` to complain of.
        return all(health[part]["ok"] for part in ("server", "worker"))

    def _ended(self) -> BackgroundFailed:
        text = f"{self._last()}\nThe appliance did not stay up, see above."
        return BackgroundFailed(text, exit_code=self.process.wait() or 1)

    def run(self, *words: str) -> int:
        """Run a command to its end, as long as the appliance is up; return its exit code."""
        command = subprocess.Popen(
            _command(*words), env=self.environ, stdin=subprocess.DEVNULL
        )
        try:
            self._wait_for(command)
            if command.poll() is None:
                raise self._ended()
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

    def _last(self, number: int = _LAST_LINES) -> str:
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-number:])


@contextmanager
def background(data: Path, *, start_s: float = _START_S) -> Iterator[Background]:
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
    appliance = Background(process, environ, data)
    try:
        appliance.wait(start_s)
        yield appliance
    finally:
        appliance.stop()
        signal.signal(signal.SIGTERM, before)


def _terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(_TERMINATED)


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "appliance", *words]
