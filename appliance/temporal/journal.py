"""Which tries this worker has in hand, on disk, so that a worker that died can say at its next start what was lost.

One line an event, appended: ``+ <task token>`` when a try starts, ``- <task token>`` when it has ended. Not synced to
disk: a killed process loses nothing, and after a power cut the heartbeat timeout says the same a minute later. For the
same reason a full disk fails no try.
"""

import base64
from contextlib import suppress
from pathlib import Path

_COMPACT_LINES = 10_000


class Journal:
    """The tries in hand, by Temporal task token."""

    def __init__(self, path: Path) -> None:
        """Open the file; what an earlier worker left in it is in ``lost``."""
        self.lost = _left(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._open: set[bytes] = set()
        self._lines = 0
        self._file = path.open("wb", buffering=0)

    def start(self, token: bytes) -> None:
        """Note that a try has started."""
        self._open.add(token)
        self._write(b"+", token)

    def end(self, token: bytes) -> None:
        """Note that a try has ended and been reported, or is no longer ours to report."""
        self._open.discard(token)
        self._write(b"-", token)
        if self._lines > _COMPACT_LINES:
            with suppress(OSError):
                self._compact()

    def _write(self, sign: bytes, token: bytes) -> None:
        self._lines += 1
        with suppress(OSError):
            self._file.write(sign + b" " + base64.b64encode(token) + b"\n")

    def _compact(self) -> None:
        fresh = self._path.with_suffix(".new")
        lines = [b"+ " + base64.b64encode(token) + b"\n" for token in self._open]
        fresh.write_bytes(b"".join(lines))
        fresh.replace(self._path)
        self._file.close()
        self._file = self._path.open("ab", buffering=0)
        self._lines = len(lines)


def _left(path: Path) -> list[bytes]:
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    tokens: dict[bytes, None] = {}
    for line in lines:
        sign, _, text = line.partition(b" ")
        try:
            token = base64.b64decode(text, validate=True)
        except ValueError:  # the last line of a worker that died while writing it
            continue
        if sign == b"+":
            tokens[token] = None
        else:
            tokens.pop(token, None)
    return list(tokens)
