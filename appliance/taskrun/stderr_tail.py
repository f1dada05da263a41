"""The last lines that a process wrote to stderr before it died.

A crash in native code leaves the dump of Python's ``faulthandler``: "Fatal Python error: ..." and
where each thread was, innermost frame first.
"""

import re
from collections import deque

from appliance.taskrun.log_text import RUNNER

_MOST_LINES = 200
_MOST_CHARS = 300
_SHOWN_LINES = 5
_DUMP = "Fatal Python error: "
_FRAME = re.compile(r'  File "(?P<path>[^"]+)", line \d+ in ')
_SHOWN_FRAMES = 8


class StderrTail:
    """Keeps the end of what one try writes to stderr."""

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
