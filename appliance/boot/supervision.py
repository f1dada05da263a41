"""Runs supervisord in this process, and ends it when a part cannot stay up.

supervisord itself exits 0 whatever happens to its programs (Supervisor#712, #1685), so its
events are listened to here, within the process: no listener program, no marker file.
"""

import fcntl
import io
import os
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, suppress
from pathlib import Path
from typing import Any, TextIO

from supervisor import events  # type: ignore[import-untyped]
from supervisor.loggers import LevelsByName, Logger  # type: ignore[import-untyped]
from supervisor.medusa import asyncore_25  # type: ignore[import-untyped]
from supervisor.options import ServerOptions  # type: ignore[import-untyped]
from supervisor.states import SupervisorStates  # type: ignore[import-untyped]
from supervisor.supervisord import Supervisor  # type: ignore[import-untyped]

from appliance.forkserver.process_tree import adopt_orphans, kill_children
from appliance.terminal import ShownBytes


def supervise(conf: Path, *, cannot_start: Callable[[], bool]) -> str | None:
    """Run the programs of ``conf`` until a signal stops them or a part is given up.

    Args:
        conf: supervisord's configuration.
        cannot_start: whether a part that has ended has left word that starting it again is of no use.

    Returns:
        Which part could not stay up and why; None after an orderly stop.
    """
    for stream in (sys.stdout, sys.stderr):
        _append(stream.fileno())
    options = _Options()
    options.realize(["--nodaemon", "--configuration", str(conf)])
    options.first, options.test = True, False
    supervision = _Supervision(options, cannot_start)
    adopt_orphans()
    try:
        with redirect_stderr(_Forgiving(sys.stderr)):
            supervision.main()
    except asyncore_25.ExitNow:
        pass  # How supervisord ends its loop.
    finally:
        supervision.end_strangers()
        options.close_httpservers()
        options.close_logger()
    return supervision.reason


class _Options(ServerOptions):  # type: ignore[misc]
    """supervisord's options: what programs print is passed on as it may be shown."""

    def getLogger(self) -> Logger:  # noqa: N802 - supervisord's name
        """Make what passes on one stream of one program."""
        return _Passing()


class _Passing(Logger):  # type: ignore[misc]
    """One stream of one program, on its way to ours."""

    def __init__(self) -> None:
        super().__init__()
        self._shown = ShownBytes()

    def info(self, data: bytes) -> None:
        """Pass on what came."""
        super().info(self._shown(data))


class _Forgiving(io.TextIOBase):
    """A stream that may be on a full disk: what cannot be written is dropped, and no process ends for it.

    supervisord reports on stderr a line it could not pass on, and would end when that cannot be written either.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what can be written."""
        with suppress(OSError):
            self._stream.write(text)
            self._stream.flush()
        return len(text)


def _append(fd: int) -> None:
    """Let all programs write to the same file, if it is one, without overwriting."""
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    fcntl.fcntl(fd, fcntl.F_SETFL, flags | os.O_APPEND)


class _Supervision(Supervisor):  # type: ignore[misc]
    """supervisord, watched."""

    def __init__(self, options: Any, cannot_start: Callable[[], bool]) -> None:
        super().__init__(options)
        self._cannot_start = cannot_start
        self.reason: str | None = None
        self._restart_limit = RestartLimit()

    def runforever(self) -> None:
        """Run the loop; ``run`` has just dropped all subscriptions."""
        events.subscribe(events.ProcessStateFatalEvent, self._on_fatal)
        events.subscribe(events.ProcessStateExitedEvent, self._on_exited)
        events.subscribe(events.ProcessStateBackoffEvent, self._on_backoff)
        events.subscribe(events.Tick5Event, self.end_strangers)
        super().runforever()

    def _on_fatal(self, event: Any) -> None:
        # A program that cannot be executed at all has another reason than its exit.
        why = event.process.spawnerr or "it does not start"
        self._give_up(event.process.config.name, f"it does not come up: {why}")

    def _on_backoff(self, event: Any) -> None:
        # It ended within startsecs; with which code, supervisord has forgotten.
        if self._cannot_start():
            # It has said why, in a line that is to be the last.
            self.options.logger.level = LevelsByName.CRIT
            self._give_up(event.process.config.name, "it cannot run as configured")

    def _on_exited(self, event: Any) -> None:
        if event.expected:
            return  # It was there to do one thing and has done it.
        self._on_backoff(event)
        part = event.process.config.name
        why = self._restart_limit.ended(part, now_s=time.monotonic())
        if why:
            self._give_up(part, f"{why}, at last with exit code {_exit_code(event)}")

    def end_strangers(self, _event: Any = None) -> None:
        """Kill what tasks of a worker have left behind that was killed and could not do so itself."""
        kill_children(but=self.options.pidhistory)

    def _give_up(self, part: str, why: str) -> None:
        self.reason = self.reason or f"{part} cannot stay up: {why}"
        self.options.mood = SupervisorStates.SHUTDOWN


def _exit_code(event: Any) -> int:
    return int(event.process.exitstatus)


_MOST_ENDS = 5
_WINDOW_S = 300.0


class RestartLimit:
    """Decides when a part that keeps ending is given up, by its unexpected ends; the time is passed in.

    supervisord gives up only on a program that never came up; it starts one that ends a little later again for ever.
    """

    def __init__(self) -> None:
        self._ends_s: dict[str, list[float]] = {}

    def ended(self, part: str, *, now_s: float) -> str | None:
        """Note an unexpected end; return why to give up, or None to go on."""
        recent = [
            then_s
            for then_s in self._ends_s.get(part, [])
            if now_s - then_s < _WINDOW_S
        ]
        recent.append(now_s)
        self._ends_s[part] = recent
        if len(recent) < _MOST_ENDS:
            return None
        return f"it ended {len(recent)} times within {_WINDOW_S / 60:g} minutes"
