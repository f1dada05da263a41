"""Seals how a deferred try resumes, so that only the worker that ran it can say.

The sealed text says for which task instance it is, which method goes on and which class is waited for, and opens for
that alone. What arrives meanwhile, an event or why the wait failed, is data like an XCom.

What version 0.1 sealed says nothing of that. It opens for any method or class of their run; and a
try that had nothing to hand on sealed nothing there: it goes on by a method that takes no more than the event.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from appliance.dagrun.attempt import ActivityTaskInput, TaskExecutionResult
from appliance.dagrun.deferral import FAIL
from appliance.dagrun.ids import shown
from appliance.errors import DagError

_FOR = "for"
_EVENT = frozenset(("event",))
_FAILURE = frozenset(("event", "error", "traceback"))


class ResumptionSeals(Protocol):
    """Seals for one run."""

    def seal_json(self, value: Any) -> str:
        """Return text that only a worker can open, for this run."""

    def open_json(self, sealed: str) -> Any:
        """Return what was sealed. Raises: ConfigError."""


def sealed(
    result: TaskExecutionResult, task: ActivityTaskInput, run: ResumptionSeals
) -> TaskExecutionResult:
    """Seal what a try that parks itself hands on: it may hold secrets."""
    deferral = result.deferral
    if deferral is None:
        return result
    text = seal(
        task,
        run,
        deferral.sealed or {},
        next_method=deferral.next_method,
        classpath=deferral.classpath,
    )
    return replace(result, deferral=replace(deferral, sealed=text))


def seal(
    task: ActivityTaskInput,
    run: ResumptionSeals,
    body: Mapping[str, Any],
    *,
    next_method: str,
    classpath: str | None,
) -> str:
    """Seal this for the instance of ``task`` and what it names."""
    names = {
        "instance": [task.task_id, task.map_index],
        "next_method": next_method,
        "classpath": classpath,
    }
    return run.seal_json({**body, _FOR: names})


def opened(task: ActivityTaskInput, run: ResumptionSeals) -> ActivityTaskInput:
    """Open what a parked try goes on with.

    Raises:
        DagError: it was sealed for something else, or more was added than an event.
        ConfigError: it was sealed with a key this box does not have, or is no sealed text.
    """
    resume = task.resume
    if resume is None:
        return task
    is_failure = resume.next_method == FAIL
    allowed = _FAILURE if is_failure else _EVENT
    if more := sorted((resume.kwargs or {}).keys() - allowed):
        raise _refused(task, f"goes on with {shown(', '.join(more))}")
    if is_failure:
        return replace(task, resume=replace(resume, sealed=None))
    if not resume.next_method.isidentifier():
        raise _refused(task, f"goes on by {shown(resume.next_method)!r}")
    body: dict[str, Any] = {}
    if resume.sealed is not None:
        body = _body(task, run, resume.sealed, next_method=resume.next_method)
    elif resume.next_method.startswith("_"):
        raise _refused(task, f"goes on by {shown(resume.next_method)!r}, unsealed")
    return replace(task, resume=replace(resume, sealed=body))


def waited_for(task: ActivityTaskInput, run: ResumptionSeals) -> dict[str, Any]:
    """Open the arguments of the trigger a try waits for.

    Raises:
        DagError, ConfigError: as ``opened``.
    """
    trigger = task.trigger
    assert trigger is not None  # noqa: S101  # of a wait, it is set
    body = _body(task, run, trigger.sealed, classpath=trigger.classpath)
    if "trigger_kwargs" not in body:
        raise _refused(task, "waits for what was sealed for something else")
    return body


def _body(
    task: ActivityTaskInput, run: ResumptionSeals, text: Any, **named: str | None
) -> dict[str, Any]:
    """Open a text that is for this instance and these names."""
    if not isinstance(text, str):
        raise _refused(task, "was given what is no sealed text")
    body: dict[str, Any] = run.open_json(text)
    names = body.pop(_FOR, None)
    wanted = {"instance": [task.task_id, task.map_index], **named}
    if names is not None and {key: names.get(key) for key in wanted} != wanted:
        raise _refused(task, "was given what was sealed for something else")
    return body


def _refused(task: ActivityTaskInput, what: str) -> DagError:
    return DagError(f"refused: {task.task_id} {what}; no worker said so")
