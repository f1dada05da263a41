r"""Text made safe for a terminal: control characters from DAG files, tasks and values are shown, never obeyed.

A control character of theirs could set the window's title, write to the clipboard, or paint over what was said before. Such
a character is shown as ``\u001b``, as JSON has it, so JSON that is printed stays what it is. It is done where the bytes
leave: in what our commands write, and in what supervisord passes on. Also elsewhere than on a terminal, as ``docker logs``
and ``less -R`` have one at their other end.
"""

import codecs
import io
import os
import re
import sys
from typing import TextIO

# All but line end and tab; then the controls of 8 bits, direction overrides, and bytes that are no text.
_UNSAFE = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
    r"\u061c\u202a-\u202e\u2066-\u2069\ud800-\udfff]|\r(?!\n)"
)
_COLOURS = {"red": 1, "green": 2, "yellow": 3, "magenta": 5, "cyan": 6}
_PLAIN = 0
# What stands for a colour of ours until it is written; nobody's text has it by chance or knows it.
_MARK = f"\ufdd0{os.urandom(4).hex()}"
_MARKS = re.compile(f"{_MARK}([0-6])")


def shown(text: str) -> str:
    """Return text with its control characters as JSON would write them."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def coloured(text: str, colour: str | None) -> str:
    """Mark text to be coloured, if it is for a terminal."""
    if colour is None or not (isinstance(sys.stdout, Shown) and sys.stdout.isatty()):
        return text
    return f"{_MARK}{_COLOURS[colour]}{text}{_MARK}{_PLAIN}"


class Shown(io.TextIOWrapper):
    """Standard output or error of a command."""

    def __init__(self, stream: TextIO) -> None:
        """Write where ``stream`` does, in its encoding."""
        encoding = stream.encoding
        if codecs.lookup(encoding).name == "ascii":
            encoding = "utf-8"  # Or click writes past us.
        super().__init__(
            stream.buffer,
            encoding=encoding,
            errors="backslashreplace",
            line_buffering=stream.isatty() or stream is sys.stderr,
            write_through=True,
        )
        self._stream = stream  # It would close the file.

    def write(self, text: str) -> int:
        """Write what may be shown."""
        super().write(_MARKS.sub(_sgr, shown(text)))
        return len(text)


def protect() -> None:
    """Have all that this process prints from now on shown so."""
    sys.stdout, sys.stderr = Shown(sys.stdout), Shown(sys.stderr)


class ShownBytes:
    """The same for bytes as they come, of UTF-8 or of anything."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("backslashreplace").decode

    def __call__(self, data: bytes) -> bytes:
        """Return what may be shown; a character that is cut off waits for the rest."""
        return shown(self._decode(data)).encode()


def _sgr(found: re.Match[str]) -> str:
    number = int(found[1])
    return f"\x1b[{30 + number}m" if number else "\x1b[0m"
