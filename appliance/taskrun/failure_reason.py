"""The reason why a try failed, picked from its log: what Temporal's UI shows of a failed try.

Source: Airflow 3.3: ``sdk/execution_time/task_runner.py`` (the events "Task failed with exception", "Task exited").
"""

import re
from collections import deque
from dataclasses import dataclass

from appliance.forkserver import airflow2_names
from appliance.taskrun.log_text import RUNNER, Event, headline, traceback_lines

ERROR_CHARS = 500
TRACEBACK_CHARS = 32768
_HEAD_CHARS = 8192
_FAILED = "Task failed with exception"
_EXITED = "Task exited"
_SOURCE_LINES = 2
"""The end of a traceback: the line it was raised in, and the error."""
_GRAVE = frozenset(("error", "critical", "exception"))
_REFUSED = re.compile(r"GENERIC_ERROR: \{'message': '(?P<text>[^']*)'\}")
_MOST_LINES = 200
_MOST_CHARS = 300
_SHOWN_LINES = 5
_DUMP = "Fatal Python error: "
_FRAME = re.compile(r'  File "(?P<path>[^"]+)", line \d+ in ')
_SHOWN_FRAMES = 8


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a try failed."""

    error: str
    """In a line: ``ValueError: no rows``."""
    traceback: str = ""
    """As Python prints it; without its middle when it is long."""
    hint: str = ""
    """What to write instead, when it failed at something that Airflow 2 had."""


class FailureReasons:
    """Picks the event that tells why a try failed from all its events.

    A callback may log an exception of its own afterwards, and a task any number it has dealt with; so what
    the runner itself calls the failure comes first, then the last exception, then the last error.
    """

    def __init__(self) -> None:
        self._told: Event | None = None
        self._raised: Event | None = None
        self._error: Event | None = None

    def see(self, event: Event) -> None:
        """Look at one event, masked already."""
        if event.get("level") not in _GRAVE:
            return
        if str(event.get("logger", "")).startswith("task.std"):
            return  # Whatever is printed on stderr has the level error.
        self._error = event
        if event.get("error_detail"):
            self._raised = event
        if is_end(event):
            self._told = event

    def text(self) -> Failure | None:
        """Return why the try failed; None when nothing in its log says so."""
        event = self._told or self._raised or self._error
        return None if event is None else _failure(event)


def is_end(event: Event) -> bool:
    """Whether the runner says by this event that the try failed, and why."""
    return event.get("event") in (_FAILED, _EXITED)


def _failure(event: Event) -> Failure:
    stacks = event.get("error_detail")
    if isinstance(stacks, list) and stacks:
        error = headline(stacks[0])
        if refused := _REFUSED.search(error):
            error = refused["text"]
    elif event.get("event") == _EXITED:
        code = event.get("exit_code")
        error = f"SystemExit: {code}"
        if not code:
            error += " (sys.exit fails a task in Airflow, whatever the code)"
    else:
        error = str(event.get("event", ""))
    lines = error.strip().splitlines() or [""]
    stack = list(traceback_lines(event))
    return Failure(
        error=lines[0][:ERROR_CHARS],
        traceback=shortened("\n".join(stack)),
        hint=airflow2_names.hint("\n".join([error, *stack[-_SOURCE_LINES:]])) or "",
    )


def shortened(text: str) -> str:
    """Cut the middle out of a text that is too long to travel; a traceback's end matters most."""
    if len(text.encode(errors="replace")) <= TRACEBACK_CHARS:
        return text
    # Up to four bytes a character.
    scale = 4 if not text.isascii() else 1
    head = text[: _HEAD_CHARS // scale]
    tail = text[-(TRACEBACK_CHARS - _HEAD_CHARS - 100) // scale :]
    cut = len(text) - len(head) - len(tail)
    return f"{head}\n... {cut} characters left out, see the log ...\n{tail}"


class StderrTail:
    """Keeps the end of what one try writes to stderr: often all that says why its process died.

    A crash in native code leaves the dump of Python's ``faulthandler``: "Fatal Python error: ..." and
    where each thread was, innermost frame first.
    """

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_MOST_LINES)

    def hear(self, line: str) -> None:
        """Take a line, masked already."""
        if line.startswith(_DUMP):
            self._lines.clear()
        self._lines.append(line[:_MOST_CHARS])

    def text(self) -> str:
        """Return it in a few lines; "" when there is nothing."""
        lines = list(self._lines)
        if lines and lines[0].startswith(_DUMP):
            return "\n".join([lines[0].strip(), *_frames(lines)])
        return "\n".join(lines[-_SHOWN_LINES:]).strip()


def _frames(dump: list[str]) -> list[str]:
    """Return the user's frames of the thread that crashed."""
    start = next((n for n, line in enumerate(dump) if line.startswith("Current ")), 0)
    frames = []
    for line in dump[start + 1 :]:
        frame = _FRAME.match(line)
        if frame is None:
            break
        if RUNNER not in frame["path"]:
            frames.append(line)
    return frames[:_SHOWN_FRAMES]
