"""What Temporal takes: the bytes of one payload and of one summary. Pure."""

import json
from typing import Any

from appliance.errors import DagError

PAYLOAD_BYTES = 2_000_000
"""A little below the server's 2 MiB; what a worker sends beyond them is tried for ever."""
SUMMARY_BYTES = 400


def size_of(value: Any) -> int:
    """Return the bytes of a value as Temporal's converter writes it, about."""
    return len(json.dumps(value, default=str))


def check_size(value: Any, what: str, hint: str) -> None:
    """Refuse what the server would refuse without a word about what is too large.

    Raises:
        DagError: it is too large.
    """
    size = size_of(value)
    if size > PAYLOAD_BYTES:
        raise DagError(
            f"{what} {size / 1e6:.1f} MB as JSON; Temporal takes 2 MB. {hint}"
        )


def shortened(text: str, limit_bytes: int = SUMMARY_BYTES) -> str:
    """Cut off the end of a text that is too long."""
    raw = text.encode()
    if len(raw) <= limit_bytes:
        return text
    mark = "…"
    kept = raw[: limit_bytes - len(mark.encode())]
    return kept.decode(errors="ignore") + mark
