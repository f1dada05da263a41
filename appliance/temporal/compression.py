"""Packs state and rows into few bytes of text. Pure."""

import base64
import json
import zlib
from collections.abc import Iterable
from dataclasses import astuple
from typing import Any, Protocol, Self

from appliance.temporal.messages import TaskRow

_MOST_BYTES = 64 * 1024 * 1024
"""Of the JSON in a packed text; what a run or a schedule remembers is a few MB at most."""
MOST_ROWS = 10_000
"""Task instances of one run that are remembered."""
MOST_STATE_BYTES = 1_700_000
"""Of what a workflow goes on with, packed; the server takes 2 MB with all else in the message."""


def packed(value: Any) -> str:
    """Write JSON as short ASCII text."""
    text = json.dumps(value, separators=(",", ":"))
    return base64.b85encode(zlib.compress(text.encode())).decode()


def unpacked(text: str) -> Any:
    """Read what ``packed`` wrote.

    Raises:
        ValueError: it is none of that, or too much.
    """
    unpacking = zlib.decompressobj()
    try:
        body = unpacking.decompress(base64.b85decode(text), _MOST_BYTES)
    except zlib.error as err:
        raise ValueError(f"no packed text: {err}") from err
    if not unpacking.eof:
        raise ValueError(f"no packed text of at most {_MOST_BYTES} bytes")
    return json.loads(body)


class Known(Protocol):
    """What a workflow knows."""

    def to_json(self) -> Any:
        """Return it as plain JSON values."""

    def lighter(self) -> Self | None:
        """Return it with less of what can be missed most easily; None when there is no such thing."""


def packed_state(known: Known) -> str:
    """Write what a workflow knows, with as much of what can be missed as a message has room for.

    Only for what is sent, never to decide what is done: how far zlib gets differs between its versions.
    """
    text = packed(known.to_json())
    while len(text) > MOST_STATE_BYTES and (lighter := known.lighter()) is not None:
        known = lighter
        text = packed(known.to_json())
    return text


def pack_rows(rows: Iterable[TaskRow]) -> str:
    """Write task instances."""
    return packed([astuple(row) for row in rows][:MOST_ROWS])


def unpack_rows(text: str) -> list[TaskRow]:
    """Read what ``pack_rows`` wrote; nothing of nothing."""
    return [TaskRow(*row) for row in unpacked(text)] if text else []
