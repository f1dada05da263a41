"""Sizes in bytes as people write them: ``200 MB``, ``1.5GiB``."""

import re

SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*(?:([kKMGT])(i)?B?|B)")
_POWERS = {"k": 1, "K": 1, "M": 2, "G": 3, "T": 4}
_THOUSAND = 1000


def parsed(written: str) -> int | None:
    """Return bytes; None when it is no size."""
    match = SIZE.fullmatch(written)
    if match is None:
        return None
    unit = 1024 if match[3] else _THOUSAND
    return int(float(match[1]) * unit ** _POWERS.get(match[2] or "", 0))


def size(count: float) -> str:
    """Write a number of bytes, to three digits."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < _THOUSAND:
            return f"{count:.3g} {unit}"
        count /= _THOUSAND
    return f"{count:.4g} TB"
