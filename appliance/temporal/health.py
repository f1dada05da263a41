"""Results of health checks: whether a part is well, and why not."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PartHealth:
    """Whether one part answered; ``why`` says what was seen when it did not."""

    ok: bool
    why: str = ""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """Whether the server answers, a worker of ours polls it, there is room for more runs, and the UI answers."""

    server: PartHealth
    worker: PartHealth
    room: PartHealth | None = None
    """None when nobody looked."""
    state: PartHealth | None = None
    """Whether what DAGs, pools and schedules know can be read; None when nobody looked."""
    workflows: PartHealth | None = None
    """Whether no workflow fails again and again; None when nobody looked."""
    ui: PartHealth | None = None
    """None when nobody looked, or the box has none."""
    warnings: Sequence[str] = ()
    """What the worker goes on without, such as a plugin that cannot be imported."""
