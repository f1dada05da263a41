"""Log of a try: JSON lines in Airflow's layout and vocabulary, echoed to the terminal.

Everything is masked before it is kept or shown. A log that cannot be written never fails a try.
For reading: ``log_paths`` says where, ``render`` makes a line readable.

Source: Airflow 3.3: ``logging.log_filename_template``; ``sdk/execution_time/supervisor.py`` (process_log_messages_from_subprocess).
"""

import asyncio
import json
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from appliance.dagrun.attempt import ActivityTaskInput
from appliance.taskrun.failure_reason import Failure, FailureReasons, StderrTail, is_end
from appliance.taskrun.log_paths import log_file, run_folder
from appliance.taskrun.log_text import render
from appliance.taskrun.masking import Masker

__all__ = ["TryLog", "echo_to_stdout", "read_cut_event", "render"]

_FLUSH_S = 0.1
_FLUSH_BYTES = 65536
_EVENT_CHARS = (1 << 20) + 1024
"""A little above where a channel cuts a line, so that its note about that stays."""
_ECHO_CHARS = 4096
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[{}\[\]]', re.DOTALL)
_NOTE = re.compile(rb" \.\.\. \[(?P<cut>\d+) bytes cut\]$")
_CLOSING = {"{": "}", "[": "]"}
_ESCAPE_CHARS = 6
"""Length of the longest escape, which the cut may go through."""


def _file_of(task: ActivityTaskInput) -> PurePosixPath:
    run = task.run
    if task.callback is not None and not task.callback.is_of_try:
        return run_folder(run.dag_id, run.run_id) / f"{task.callback.name}.log"
    return log_file(
        run.dag_id,
        run.run_id,
        task.task_id,
        map_index=task.map_index,
        try_number=task.try_number,
    )


def _name_of(task: ActivityTaskInput) -> str:
    if task.callback is not None and not task.callback.is_of_try:
        return task.callback.name
    index = f"[{task.map_index}]" if task.map_index >= 0 else ""
    return f"{task.task_id}{index} try {task.try_number}"


def echo_to_stdout(text: str) -> None:
    """Write whole lines to the process's stdout, whatever its encoding is."""
    encoding = sys.stdout.encoding
    sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
    sys.stdout.flush()


class TryLog:
    """The log of one try. Methods take what the child's channels give, a line at a time, without its newline."""

    def __init__(
        self,
        task: ActivityTaskInput,
        *,
        data: Path,
        masker: Masker,
        now: Callable[[], datetime],
        echo: Callable[[str], None] = echo_to_stdout,
    ) -> None:
        """Write below the folder ``data``; earlier lines of the same try stay (a sensor's pokes share a file)."""
        self.file = _file_of(task)
        self._path = data / self.file
        self._masker = masker
        self._now = now
        self._echo = echo
        self._mark = f"{task.run.dag_id}.{_name_of(task)} | "
        self._failures = FailureReasons()
        self._stderr_tail = StderrTail()
        self._lines = bytearray()
        self._echoed: list[str] = []
        self._timer: asyncio.TimerHandle | None = None
        self._is_torn = False
        self._has_complained = False

    def event(self, line: bytes) -> None:
        """Keep an event of the child's JSON log channel."""
        try:
            event = json.loads(line)
        except ValueError:
            event = read_cut_event(line)
        if not isinstance(event, dict):
            self._output("error", "task.malformed", line)
            return
        # Airflow's log files have it by this name.
        if (exception := event.pop("exception", None)) is not None:
            event["error_detail"] = exception
        self._keep(event)
        if is_end(event) and (failure := self.failure()) and failure.hint:
            self.say("warning", failure.hint)

    def stdout(self, line: bytes) -> None:
        """Keep what the child printed."""
        self._output("info", "task.stdout", line)

    def stderr(self, line: bytes) -> None:
        """Keep what the child wrote to stderr."""
        shown = self._output("error", "task.stderr", line)
        self._stderr_tail.hear(str(shown["event"]))

    def say(self, level: str, text: str) -> None:
        """Add what the appliance itself has to say about the try; ``level`` in lower case."""
        self._keep(self._event(level, "appliance", text))

    def failure(self) -> Failure | None:
        """Return why the try failed, as far as its log tells."""
        return self._failures.text()

    def stderr_tail(self) -> str:
        """Return the end of what the try wrote to stderr, in a few lines."""
        return self._stderr_tail.text()

    def flush(self) -> None:
        """Write what is waiting."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._echoed:
            self._echo("".join(self._echoed))
            self._echoed.clear()
        if self._lines:
            lines, self._lines = self._lines, bytearray()
            self._write(lines)

    close = flush

    def _output(self, level: str, logger: str, line: bytes) -> dict[str, Any]:
        text = line.decode(errors="replace").rstrip()
        return self._keep(self._event(level, logger, text))

    def _event(self, level: str, logger: str, text: str) -> dict[str, Any]:
        timestamp = self._now().astimezone(UTC).isoformat().replace("+00:00", "Z")
        return {
            "timestamp": timestamp,
            "level": level,
            "event": text,
            "logger": logger,
        }

    def _keep(self, event: dict[str, Any]) -> dict[str, Any]:
        """Return it as it is kept."""
        event = self._masker.hide(event)
        text = event.get("event")
        if isinstance(text, str) and len(text) > _EVENT_CHARS:
            more = len(text) - _EVENT_CHARS
            event["event"] = f"{text[:_EVENT_CHARS]}... ({more} more characters)"
        self._failures.see(event)
        line = json.dumps(event, ensure_ascii=False)
        # A lone surrogate then stands as the escape that JSON has for it.
        self._lines += line.encode(errors="backslashreplace") + b"\n"
        self._show(render(event, has_time=False))
        if len(self._lines) > _FLUSH_BYTES:
            self.flush()
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_FLUSH_S, self.flush)
        return event

    def _show(self, text: str) -> None:
        if len(text) > _ECHO_CHARS:
            more = len(text) - _ECHO_CHARS
            text = f"{text[:_ECHO_CHARS]}... ({more} more characters in the log)"
        for number, line in enumerate(text.splitlines()):
            indent = "    " if number else ""
            self._echoed.append(f"{self._mark}{indent}{line}\n")

    def _write(self, lines: bytes | bytearray) -> None:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab", buffering=0) as file:
                if self._is_torn:
                    file.write(b"\n")
                written = file.write(lines)
            self._is_torn = written != len(lines)
        except OSError as error:
            self._is_torn = True
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        if not self._has_complained:
            self._has_complained = True
            sys.stderr.write(f"{self._mark}its log is not kept: {error}\n")


def read_cut_event(line: bytes) -> dict[str, Any] | None:
    """Return a log event whose end was cut off, with what is left of it and ``bytes_cut``.

    Of such an event nearly all is one text, a message or a printed value, and the cut goes through that.
    None when the line is no such event.
    """
    note = _NOTE.search(line)
    if note is None:
        return None
    text = line[: note.start()].decode(errors="ignore")
    closing = "".join(_open_brackets(text))
    for length in range(len(text), len(text) - _ESCAPE_CHARS, -1):
        try:
            event = json.loads(f'{text[:length]}"{closing}')
        except ValueError:
            continue
        if not isinstance(event, dict):
            return None
        return {**event, "bytes_cut": int(note["cut"])}
    return None


def _open_brackets(text: str) -> list[str]:
    """Return what closes the brackets that are open at the end, innermost first."""
    open_ones: list[str] = []
    for token in _TOKEN.finditer(text):
        if (mark := token[0]) in _CLOSING:
            open_ones.append(_CLOSING[mark])
        elif mark in ("}", "]") and open_ones:
            open_ones.pop()
    return open_ones[::-1]
