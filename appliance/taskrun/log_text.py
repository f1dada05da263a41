"""Rendering of a task's log event as text: one line, and a traceback as Python prints it.

The child's events carry frames without source lines; they are read from the files here. Frames of Airflow's own
runner are left out: everybody's traceback has them, nobody's mistake is in them.

Source: structlog ``tracebacks.ExceptionDictTransformer`` for the shape of an exception.
"""

import json
import linecache
import re
from collections.abc import Iterator, Mapping
from typing import Any

Event = Mapping[str, Any]

RUNNER = "/airflow/sdk/"
_UNSHOWN = re.compile(r"::(?:group|endgroup)::|Worker startup parse complete$")
_CAUSE = (
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)
_KNOWN = frozenset(
    [
        "timestamp",
        "level",
        "event",
        "logger",
        "filename",
        "lineno",
        "func_name",
        "loc",
        "process",
        "thread",
        "ti_id",
        "dag_id",
        "task_id",
        "run_id",
        "try_number",
        "map_index",
        "ti",
        "task",
        "exception",
        "error_detail",
        "exc_info",
        "stack",
    ]
)
_VALUE_CHARS = 400
_PLAIN = frozenset(("task.stdout", "task.stderr"))


def render(event: str | Event, *, has_time: bool = True) -> str:
    """Return an event, or a line of a log file, for people.

    "" for what only Airflow's UI has a use for: where text is folded, how long a parse took.
    """
    fields = _parsed(event) if isinstance(event, str) else event
    text = str(fields.get("event", ""))
    if _UNSHOWN.match(text):
        return ""
    level = str(fields.get("level", "info")).upper()
    is_plain = fields.get("logger") in _PLAIN or level == "INFO"
    words = [] if is_plain else [level]
    if has_time and (when := _clock(fields)):
        words.insert(0, when)
    line = " ".join([*words, text, *_extras(fields)])
    return "\n".join([line, *traceback_lines(fields)])


def traceback_lines(event: Event) -> list[str]:
    """Return the exception of an event, causes first, as Python prints it."""
    exception = event.get("error_detail") or event.get("exception")
    if isinstance(exception, str):
        return exception.splitlines()
    return list(_chain(exception)) if isinstance(exception, list) else []


def _parsed(line: str) -> Event:
    try:
        fields = json.loads(line)
    except ValueError:
        return {"event": line.rstrip("\n")}
    return fields if isinstance(fields, dict) else {"event": line.rstrip("\n")}


def _clock(fields: Event) -> str:
    """Return date and time, to the millisecond, in the zone they were written in (UTC)."""
    return str(fields.get("timestamp") or "")[:23].replace("T", " ")


def _extras(fields: Event) -> Iterator[str]:
    for name, value in fields.items():
        if name not in _KNOWN and value is not None:
            yield f"{name}={str(value)[:_VALUE_CHARS]}"


def _chain(stacks: list[Event]) -> Iterator[str]:
    """The first stack is what was raised, the others are what it came from."""
    for place in range(len(stacks) - 1, -1, -1):
        yield from _stack(stacks[place])
        if place:
            yield from ("", _CAUSE[0 if stacks[place].get("is_cause") else 1], "")


def _stack(stack: Event) -> Iterator[str]:
    frames = stack.get("frames") or []
    if frames:
        yield "Traceback (most recent call last):"
    shown = [frame for frame in frames if RUNNER not in frame["filename"]]
    for frame in shown or frames[-1:]:
        yield from _frame(frame)
    if syntax := stack.get("syntax_error"):
        yield f'  File "{syntax["filename"]}", line {syntax["lineno"]}'
        yield f"    {str(syntax['line']).strip()}"
    yield headline(stack)
    yield from stack.get("exc_notes") or ()
    for inner in stack.get("exceptions") or ():
        stacks = inner.get("stacks", []) if isinstance(inner, dict) else inner
        yield from (f"  | {line}" for line in _chain(stacks))


def headline(stack: Event) -> str:
    """Return ``ValueError: no rows``."""
    value = stack.get("exc_value")
    return f"{stack['exc_type']}: {value}" if value else str(stack["exc_type"])


def _frame(frame: Event) -> Iterator[str]:
    file, number = frame["filename"], frame["lineno"]
    yield f'  File "{file}", line {number}, in {frame["name"]}'
    linecache.checkcache(file)
    if source := linecache.getline(file, number).strip():
        yield f"    {source}"
