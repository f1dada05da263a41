"""Notices that the clock was set, or that the machine slept."""

from dataclasses import dataclass

_JUMP_S = 30.0
"""Less is what a clock is corrected by all the time."""


@dataclass(slots=True)
class Clock:
    """The wall clock, compared with one that nobody sets and that stands still while the machine sleeps."""

    _ahead_s: float | None = None

    def jumped(self, *, wall_s: float, steady_s: float) -> str | None:
        """Say how far it has jumped since it was last asked; None if it has not."""
        ahead_s = wall_s - steady_s
        before_s, self._ahead_s = self._ahead_s, ahead_s
        jump_s = 0.0 if before_s is None else ahead_s - before_s
        if jump_s >= _JUMP_S:
            return (
                f"The clock went {jump_s:.0f} s forward, or the machine slept: retries and "
                "timeouts of that time are due now."
            )
        if jump_s <= -_JUMP_S:
            return (
                f"The clock was set back by {-jump_s:.0f} s: retries and timeouts wait "
                "until it has caught up."
            )
        return None
