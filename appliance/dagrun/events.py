"""Events that the state machine receives, and decisions that it returns.

Times are seconds since the epoch, as floats; the caller takes them from its own clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from appliance.dagrun.states import RunState, TaskState


@dataclass(frozen=True, slots=True)
class TryEnded:
    """One try of one task instance has ended, or parked itself.

    ``skipped`` lists what the task asked to skip before it ended: ``(task_id, map_index)``, -1 for unmapped.
    ``skip_verdict`` is its ``skipmixin_key`` XCom, ``("followed" | "skipped", task ids)``.
    """

    task_id: str
    map_index: int
    try_number: int
    state: TaskState
    return_length: int | None = None
    """Length of the return value, when the task feeds a mapped task."""
    returned: bool = False
    """Whether a return value other than None was pushed."""
    retry_delay_s: float | None = None
    """Delay asked for by a retry policy; overrides the computed one."""
    reschedule_at: float | None = None
    is_watched: bool = False
    """Whether a rescheduled try is poked by somebody else from now on, who says how it ended (``WaitEnded``)."""
    skipped: tuple[tuple[str, int], ...] = ()
    skip_verdict: tuple[str, tuple[str, ...]] | None = None


@dataclass(frozen=True, slots=True)
class TryLost:
    """A try vanished with its worker or container; how it ended is unknown."""

    task_id: str
    map_index: int
    try_number: int


@dataclass(frozen=True, slots=True)
class TryResumed:
    """What a parked try waited for has come, or one was sent back that had not begun; it goes on as the same try."""

    task_id: str
    map_index: int
    has_begun: bool = True


@dataclass(frozen=True, slots=True)
class PastMet:
    """What these tasks depend on in earlier runs (``depends_on_past``) has come."""

    task_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WaitEnded:
    """What a parked try waited for has ended the try, or lost it; it does not go on."""

    end: TryEnded | TryLost


@dataclass(frozen=True, slots=True)
class SlotsGranted:
    """An instance has the slots it was asked for (``AskSlots``)."""

    task_id: str
    map_index: int


@dataclass(frozen=True, slots=True)
class SlotsAwaited:
    """An instance has asked for slots and has to wait; until then the run keeps room for it."""

    task_id: str
    map_index: int


@dataclass(frozen=True, slots=True)
class PoolsScarce:
    """More tasks need slots from outside the run than before: ``lent`` and ``exempt`` as ``Plan`` has them."""

    lent: Mapping[str, str]
    exempt: frozenset[str]


@dataclass(frozen=True, slots=True)
class TimeReached:
    """A time the machine asked to be woken at has come."""


@dataclass(frozen=True, slots=True)
class CancelRequested:
    """Somebody wants the run to end now: it fails, and only teardowns are still run."""


Event = (
    TryEnded
    | TryLost
    | TryResumed
    | WaitEnded
    | PastMet
    | SlotsGranted
    | SlotsAwaited
    | PoolsScarce
    | TimeReached
    | CancelRequested
)


@dataclass(frozen=True, slots=True)
class StartTask:
    """Run this try now."""

    task_id: str
    map_index: int
    try_number: int
    max_tries: int
    reschedules: int
    """How often this try has been rescheduled before."""


@dataclass(frozen=True, slots=True)
class StartWait:
    """A try is parked: wait for what it named, or, if it never ran, for what its task starts from."""

    task_id: str
    map_index: int
    try_number: int
    max_tries: int


@dataclass(frozen=True, slots=True)
class StopTask:
    """Kill this running try, or its wait; how it ends no longer matters."""

    task_id: str
    map_index: int
    try_number: int


@dataclass(frozen=True, slots=True)
class AskSlots:
    """Get this instance the slots outside the run that it needs, and send ``SlotsGranted``; ``SlotsAwaited`` when that takes time."""

    task_id: str
    map_index: int
    priority: int
    asks: int = 1
    """How often it has asked by now; who asks anew competes anew for what it still has."""


@dataclass(frozen=True, slots=True)
class HoldSlots:
    """This instance has begun without asking: the slots it needs count as its own, be there any or not."""

    task_id: str
    map_index: int
    priority: int
    asks: int = 0


@dataclass(frozen=True, slots=True)
class ReturnSlots:
    """This instance needs them no longer; of one that is parked some may still count."""

    task_id: str
    map_index: int
    parked: TaskState | None = None
    """DEFERRED or AWAITING_INPUT."""


@dataclass(frozen=True, slots=True)
class WaitUntil:
    """Send ``TimeReached`` at this time (or a little later)."""

    at: float


@dataclass(frozen=True, slots=True)
class FinishRun:
    """The run has ended; nothing follows. ``reason`` is Airflow's: success, task_failure, timed_out, ..."""

    state: RunState
    reason: str


Decision = (
    StartTask
    | StartWait
    | StopTask
    | AskSlots
    | HoldSlots
    | ReturnSlots
    | WaitUntil
    | FinishRun
)
