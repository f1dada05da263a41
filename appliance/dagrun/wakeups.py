"""The times at which time alone changes something in a run."""

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Wakeups:
    """What was asked for and has not come yet."""

    calls: list[float] = field(default_factory=list)

    def set(self, times: Iterable[float], now: float) -> float | None:
        """Return the earliest time ahead if it must be asked for: no call pending comes before it."""
        earliest = min((at for at in times if at > now), default=None)
        if earliest is None or any(at <= earliest for at in self.calls):
            return None
        self.calls.append(earliest)
        return earliest

    def ring(self, now: float) -> None:
        """Forget the calls that have come; one at least, should the caller's clock be a little early."""
        self.calls.sort()
        del self.calls[:1]
        while self.calls and self.calls[0] <= now:
            del self.calls[0]
