"""Journal on disk of the tries in hand, so that a worker that crashed can report them as lost.

One line an event, appended: ``+ <task token>`` when a try is taken, ``= <task token>`` when it begins, ``- <task token>``
when it has ended. Not synced to disk: a killed process loses nothing, and after a power cut the heartbeat timeout says
the same a minute later. For the same reason a full disk fails no try.
"""

import base64
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

_COMPACT_LINES = 10_000
_UNHEARD = 256
"""How many ends the server may not have heard of when the worker dies: those in hand as it went down, or last moments."""


class AttemptJournal:
    """The tries in hand, by Temporal task token."""

    def __init__(self, path: Path) -> None:
        """Open the file; what an earlier worker left in it stays there until it is told."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._earlier = _Book(_read(path))
        self._book = _Book(())
        self._lines = 0
        self._file = path.open("ab", buffering=0)
        self._compact()

    @property
    def left(self) -> dict[bytes, bool]:
        """What the server may believe an earlier worker to have: token → whether it had begun."""
        ended = dict.fromkeys(self._earlier.ended, True)
        return {**ended, **self._earlier.in_hand}

    def clear_reported(self) -> None:
        """Forget what an earlier worker left."""
        self._earlier = _Book(())
        self._compact()

    def take(self, token: bytes) -> None:
        """Note that a try is in hand; it may still wait for a slot."""
        self._write(b"+", token)

    def begin(self, token: bytes) -> None:
        """Note that a try has begun."""
        self._write(b"=", token)

    def end(self, token: bytes) -> None:
        """Note that a try has ended, or is no longer ours to report; the server hears of it only after this."""
        self._write(b"-", token)
        if self._lines > _COMPACT_LINES:
            self._compact()

    def _write(self, sign: bytes, token: bytes) -> None:
        self._book.enter(sign, token)
        self._lines += 1
        with suppress(OSError):
            self._file.write(_line(sign, token))

    def _compact(self) -> None:
        fresh = self._path.with_suffix(".new")
        lines = [*self._earlier.lines(), *self._book.lines()]
        with suppress(OSError):
            fresh.write_bytes(b"".join(lines))
            fresh.replace(self._path)
            self._file.close()
            self._file = self._path.open("ab", buffering=0)
            self._lines = len(lines)


class _Book:
    """What the lines of a file come to."""

    def __init__(self, lines: Iterable[tuple[bytes, bytes]]) -> None:
        self.in_hand: dict[bytes, bool] = {}
        """Token → whether it has begun."""
        self.ended: dict[bytes, None] = {}
        """The last that had begun, in order."""
        for sign, token in lines:
            self.enter(sign, token)

    def enter(self, sign: bytes, token: bytes) -> None:
        if sign != b"-":
            self.in_hand[token] = sign == b"="
        elif self.in_hand.pop(token, False):
            self.ended[token] = None
            if len(self.ended) > _UNHEARD:
                del self.ended[next(iter(self.ended))]

    def lines(self) -> Iterator[bytes]:
        for token in self.ended:
            yield from (_line(b"=", token), _line(b"-", token))
        for token, has_begun in self.in_hand.items():
            yield _line(b"=" if has_begun else b"+", token)


def _line(sign: bytes, token: bytes) -> bytes:
    return sign + b" " + base64.b64encode(token) + b"\n"


def _read(path: Path) -> Iterator[tuple[bytes, bytes]]:
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return
    for line in lines:
        sign, _, text = line.partition(b" ")
        # The last line of a worker that died while writing it is no base64.
        with suppress(ValueError):
            yield sign, base64.b64decode(text, validate=True)
