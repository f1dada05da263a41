"""Reader for log events whose end was cut off because they were too long.

Of such an event nearly all is one text, a message or a printed value, and the cut goes through that.
"""

import json
import re
from typing import Any

_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[{}\[\]]', re.DOTALL)
_NOTE = re.compile(rb" \.\.\. \[(?P<cut>\d+) bytes cut\]$")
_CLOSING = {"{": "}", "[": "]"}
_ESCAPE_CHARS = 6
"""Length of the longest escape, which the cut may go through."""


def read_stump(line: bytes) -> dict[str, Any] | None:
    """Return the event with what is left of it, and ``bytes_cut``; None when it is no such thing."""
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
