"""Which tries this worker has in hand, on disk, so that a worker that died can say at its next start what was lost.

One line an event, appended: ``+ <task token>`` when a try is taken, ``= <task token>`` when it begins, ``- <task token>``
when it has ended. Not synced to
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
        """Open the file; what an earlier worker left in it is in ``lost``: token → whether it had begun."""
        self.lost = _left(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._open: dict[bytes, bool] = {}
        self._lines = 0
        self._file = path.open("wb", buffering=0)

    def take(self, token: bytes) -> None:
        """Note that a try is in hand; it may still wait for a slot."""
        self._open[token] = False
        self._write(b"+", token)

    def begin(self, token: bytes) -> None:
        """Note that a try has begun."""
        self._open[token] = True
        self._write(b"=", token)

    def end(self, token: bytes) -> None:
        """Note that a try has ended and been reported, or is no longer ours to report."""
        self._open.pop(token, None)
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
        lines = [
            (b"= " if has_begun else b"+ ") + base64.b64encode(token) + b"\n"
            for token, has_begun in self._open.items()
        ]
        fresh.write_bytes(b"".join(lines))
        fresh.replace(self._path)
        self._file.close()
        self._file = self._path.open("ab", buffering=0)
        self._lines = len(lines)


def _left(path: Path) -> dict[bytes, bool]:
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return {}
    tokens: dict[bytes, bool] = {}
    for line in lines:
        sign, _, text = line.partition(b" ")
        try:
            token = base64.b64decode(text, validate=True)
        except ValueError:  # the last line of a worker that died while writing it
            continue
        if sign == b"-":
            tokens.pop(token, None)
        else:
            tokens[token] = sign == b"="
    return tokens
