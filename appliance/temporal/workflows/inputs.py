"""What workflows are started with and sent, by whoever reaches the server: what of it nobody of ours sends. Pure.

A workflow task that fails is tried for ever, so what would make one fail is refused before it is taken in: text
that is none, JSON too deep to copy, times that are none, numbers that no timer takes. ``of_...`` say what is wrong with
a value, or return None; ``refuse`` raises that.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from appliance.dagrun import names
from appliance.dagrun.conf import MOST_DEPTH
from appliance.dagrun.pool import Lease
from appliance.dagrun.roster import RunCard
from appliance.dagrun.slots import Declaration, Slot
from appliance.temporal import limits, messages
from appliance.temporal.messages import DagExecutionInput
from appliance.temporal.orders import BackfillRequest, Steer

_MOST_DEPTH = MOST_DEPTH + 2
"""Of JSON: a conf, within something."""
_MOST_NUMBER = 1 << 31
_MOST_CARD_BYTES = 16_384
_MOST_AHEAD = timedelta(days=36_500)
"""Of a run that waits until it is due; a server counts a timer in nanoseconds of 64 bits."""
_MOST_SECONDS = 1e11
_LAST_YEAR = 9999

Found = Iterator[tuple[str, str]]
"""Where, and what is wrong there."""


def refuse(why: str | None) -> None:
    """End what was asked, if there is something wrong with it.

    Raises:
        ApplicationError: type ``InputRefused``.
    """
    if why is not None:
        raise ApplicationError(
            f"refused: {why}", type=messages.INPUT_REFUSED, non_retryable=True
        )


def of_anything(value: object) -> str | None:
    """Look at whatever a signal or an update brings: dataclasses, and JSON in them."""
    return next((f"{where}: {why}" for where, why in _walk(value, "", 0)), None)


def of_json(value: object) -> str | None:
    """Look at JSON that is only passed on: how deep it is."""
    level = [value]
    for _ in range(_MOST_DEPTH):
        level = [inner for one in level for inner in _members(one)]
        if not level:
            return None
    return f"more than {MOST_DEPTH} levels deep"


def of_run(request: DagExecutionInput, now: datetime, *, goes_on: bool) -> str | None:
    """Look at the input of a run; ``goes_on``: whether an earlier workflow run of its own has handed it over."""
    if request.carried is not None and not goes_on:
        return "carried: only a run that goes on in a fresh workflow run has it"
    return next((f"{key}: {why}" for key, why in _in_run(request, now)), None)


def of_backfill(request: BackfillRequest) -> str | None:
    """Look at the input of a backfill."""
    if why := names.objection(request.dag_id):
        return f"dag_id: {why}"
    for key in ("from_date", "to_date"):
        if _moment(getattr(request, key)) is None:
            return f"{key}: no ISO 8601 time"
    if not 0 < request.max_active_runs < _MOST_NUMBER:
        return f"max_active_runs: {request.max_active_runs} is no number of runs"
    return of_anything(request)


def of_card(card: RunCard) -> str | None:
    """Look at what a run says of itself."""
    if not card.workflow_id or not card.run_id:
        return "a run without a name"
    if limits.size_of(card.conf) > _MOST_CARD_BYTES:
        return "a conf too large to be remembered"
    texts = (card.run_id, card.workflow_id, card.lane, card.triggering_user or "")
    if any(len(text) > limits.WORKFLOW_ID_BYTES for text in texts):
        return "a name too long"
    return None


def of_lease(lease: Lease) -> str | None:
    """Look at what a task instance wants of a pool."""
    if not lease.workflow_id or not lease.lease_id:
        return "a lease of nobody"
    if not 0 <= lease.slots < _MOST_NUMBER:
        return f"{lease.slots} is no number of slots"
    return None


def of_slots(slots: Sequence[Slot]) -> str | None:
    """Look at runs that timetables have."""
    for slot in slots:
        times = (slot.run_after, slot.start, slot.end, slot.partition_date)
        if any(time is not None and _moment(time) is None for time in times):
            return f"{names.shown(slot.run_id)}: no ISO 8601 time"
    return None


def of_declarations(told: Sequence[Declaration]) -> str | None:
    """Look at schedules."""
    for one in told:
        times = (one.earliest, one.latest)
        if any(time is not None and _moment(time) is None for time in times):
            return f"{names.shown(one.name)}: no ISO 8601 time"
        if not one.name or not one.dag_id:
            return "a schedule without a name"
    return None


def of_times(*times: float | None) -> str | None:
    """Look at seconds: durations, or times since 1970."""
    for time in times:
        if time is not None and not 0 <= time <= _MOST_SECONDS:
            return f"{time} is no time"
    return None


def of_steering(wanted: Steer) -> str | None:
    """Look at what a person wants of schedules."""
    if wanted.verb not in ("pause", "resume", "trigger"):
        return f"{names.shown(wanted.verb)!r} is nothing to do with a schedule"
    if wanted.at is not None and _moment(wanted.at) is None:
        return f"{names.shown(wanted.at)!r} is no ISO 8601 time"
    return None


def of_state(state: object, packed: str | None) -> str | None:
    """Look at what a workflow starts with that goes on for ever: only an earlier run of its own hands on a state."""
    if packed is not None and workflow.info().continued_run_id is None:
        return "packed: only a workflow that goes on in a fresh run has it"
    return of_anything(state)


def _in_run(request: DagExecutionInput, now: datetime) -> Found:
    for key in ("dag_id", "run_id", "run_type"):
        text = getattr(request, key)
        if text is not None and (why := names.objection(text)):
            yield key, f"{names.shown(text)!r} is none: {why}"
    for key in ("logical_date", "run_after", *_INTERVAL):
        text = getattr(request, key)
        if text is not None and _moment(text) is None:
            yield key, f"{names.shown(text)!r} is no ISO 8601 time"
    for key in ("triggering_user", "dag_file", "lane", "partition_key", "sealed"):
        if why := of_anything(getattr(request, key)):
            yield key, why
    yield from _in_wishes(request, now)


def _in_wishes(request: DagExecutionInput, now: datetime) -> Found:
    due = _moment(request.run_after or "")
    if due is not None and due - now > _MOST_AHEAD:
        yield "run_after", f"{request.run_after} is too far away"
    most = request.max_active_runs
    if most is not None and not 0 < most < _MOST_NUMBER:
        yield "max_active_runs", f"{most} is no number of runs"
    if why := of_json(request.conf):
        yield "conf", why


_INTERVAL = ("data_interval_start", "data_interval_end")


def _walk(value: object, where: str, depth: int) -> Found:
    if depth > _MOST_DEPTH:
        yield where[:_WHERE_CHARS], f"more than {MOST_DEPTH} levels deep"
    elif isinstance(value, str):
        if not _is_text(value):
            yield where[:_WHERE_CHARS], "text that cannot be written"
    else:
        for name, inner in _inner(value):
            yield from _walk(inner, f"{where}.{name}" if where else name, depth + 1)


_WHERE_CHARS = 100


def _inner(value: object) -> Iterator[tuple[str, object]]:
    if is_dataclass(value):
        for field in fields(value):
            yield field.name, getattr(value, field.name)
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            shown = names.shown(str(key))
            yield shown, key if isinstance(key, str) else None
            yield shown, inner
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        for index, inner in enumerate(value):
            yield str(index), inner


def _members(value: object) -> Collection[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _moment(text: str) -> datetime | None:
    try:
        found: Any = datetime.fromisoformat(text)
        if found.tzinfo is None:
            found = found.replace(tzinfo=UTC)
        found = found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return found if 1 < found.year < _LAST_YEAR else None
