"""What a deferred or waiting try waits for, and how it resumes, as both cross the wire.

What an operator hands to its trigger and to its own continuation may hold secrets (Airflow encrypts the former), so
it is ``sealed`` from the worker that ran the try to the one that needs it. Times are seconds since the epoch.
"""

from dataclasses import dataclass
from typing import Any

from appliance.dagrun.states import TaskState

MASKS = "masks"
"""In what is sealed: the secrets that the try had in hand."""
FAIL = "__fail__"
"""The method by which an operator fails with what ``kwargs`` say, instead of going on."""


@dataclass(frozen=True, slots=True)
class Deferral:
    """What a try that ended deferred or awaiting input waits for."""

    next_method: str
    sealed: Any = None
    """``{next_kwargs, trigger_kwargs, masks}``, each if there is any; None when there is none."""
    classpath: str | None = None
    """The trigger's class; None when it waits for a moment or for a person."""
    timeout_s: float | None = None
    moment: float | None = None
    """When the trigger, which waits for nothing else, fires."""
    event: Any = None
    """What it says then, as Airflow's serde writes it."""
    ends_task: bool = False
    """Whether the task has then succeeded, without going on."""
    question: dict[str, Any] | None = None
    """What a person is asked: options, subject, body, defaults, multiple, params, assigned_users."""


@dataclass(frozen=True, slots=True)
class Resumption:
    """How a parked try goes on."""

    next_method: str
    sealed: Any = None
    kwargs: dict[str, Any] | None = None
    """Passed in addition to ``next_kwargs``: the event, or why the wait failed."""
    start_date: str | None = None
    """When the try began."""
    is_answered: bool = False
    """Whether it waited for a person, which no ``execution_timeout`` counts."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """What ``run_trigger`` is to wait for."""

    classpath: str | None = None
    """None: what the task, which was never run, starts from."""
    sealed: Any = None
    """As in ``Deferral``."""
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class TriggerResult:
    """How a wait for a trigger ended: the result of ``run_trigger``.

    ``state`` None: the try goes on. With ``traceback`` set it goes on by failing.
    """

    event: Any = None
    state: TaskState | None = None
    """Set when the trigger itself ended the task."""
    xcoms: tuple[dict[str, Any], ...] = ()
    failed: bool = False
    traceback: list[str] | None = None
    next_method: str | None = None
    """Of a task that was never run: where it goes on."""
    sealed: Any = None
