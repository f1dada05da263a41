"""Writes what is remembered of runs in few bytes. Pure."""

import base64
import json
import zlib
from collections.abc import Iterable
from dataclasses import astuple
from typing import Any

from appliance.temporal.messages import TaskRow

MOST_ROWS = 10_000
"""Task instances of one run that are remembered."""


def packed(value: Any) -> str:
    """Write JSON as short ASCII text."""
    text = json.dumps(value, separators=(",", ":"))
    return base64.b85encode(zlib.compress(text.encode())).decode()


def unpacked(text: str) -> Any:
    """Read what ``packed`` wrote."""
    return json.loads(zlib.decompress(base64.b85decode(text)))


def pack_rows(rows: Iterable[TaskRow]) -> str:
    """Write task instances."""
    return packed([astuple(row) for row in rows][:MOST_ROWS])


def unpack_rows(text: str) -> list[TaskRow]:
    """Read what ``pack_rows`` wrote; nothing of nothing."""
    return [TaskRow(*row) for row in unpacked(text)] if text else []
