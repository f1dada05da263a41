"""Decides when a part that keeps ending is given up.

supervisord gives up only on a program that never came up; one that ends a little later is
started again for ever. Pure: the time is passed in.
"""

_MOST_ENDS = 5
_WINDOW_S = 300.0


class RestartLimit:
    """Counts the unexpected ends of each part."""

    def __init__(self) -> None:
        self._ends_s: dict[str, list[float]] = {}

    def ended(self, part: str, *, now_s: float) -> str | None:
        """Note an unexpected end; return why to give up, or None to go on."""
        recent = [
            then_s
            for then_s in self._ends_s.get(part, [])
            if now_s - then_s < _WINDOW_S
        ]
        recent.append(now_s)
        self._ends_s[part] = recent
        if len(recent) < _MOST_ENDS:
            return None
        return f"it ended {len(recent)} times within {_WINDOW_S / 60:g} minutes"
