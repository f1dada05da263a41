"""Limits of Temporal: bytes of a payload, of a summary, of a workflow id. Pure."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from appliance.dagrun.run_conf import objection
from appliance.errors import DagError

_T = TypeVar("_T")
PAYLOAD_BYTES = 2_000_000
"""A little below the server's 2 MiB; what a worker sends beyond them is tried for ever."""
CONF_BYTES = 1_000_000
"""Of a conf that is sent along with something else: with the runs of a backfill, or from schedule to run."""
SUMMARY_BYTES = 400
WORKFLOW_ID_BYTES = 1000
SLICE_CHARS = 700_000
"""ASCII JSON in one payload: as a text within JSON it may double, and it crosses twice in one 4 MB message."""
PAGE_ROWS = 250
"""XComs in one answer of a run; with the names of task and key, a row is a few kB at most."""


def size_of(value: Any) -> int:
    """Return the bytes of a value as Temporal's converter writes it, about."""
    return len(json.dumps(value, default=_written))


def parts(
    values: Sequence[_T],
    most_bytes: int,
    *,
    most: int | None = None,
    size_of: Callable[[_T], int] = size_of,
) -> Iterator[list[_T]]:
    """Give the values in parts that can be sent; what is too large alone is a part of its own."""
    part: list[_T] = []
    left = most_bytes
    for value in values:
        size = size_of(value)
        if part and (size > left or len(part) == most):
            yield part
            part, left = [], most_bytes
        part.append(value)
        left -= size
    if part:
        yield part


def check_size(value: Any, what: str, hint: str) -> None:
    """Refuse what the server would refuse without a word about what is too large.

    Raises:
        DagError: it is too large.
    """
    size = size_of(value)
    if size > PAYLOAD_BYTES:
        raise DagError(
            f"{what} {size / 1e6:.1f} MB as JSON; Temporal takes 2 MB. {hint}"
        )


def check_conf(conf: Any, most_bytes: int = PAYLOAD_BYTES) -> None:
    """Refuse a conf that would not reach a task as it is.

    Raises:
        DagError: it would not.
    """
    if (why := objection(conf)) is not None:
        raise DagError(f"its conf cannot be passed on: {why}")
    hint = "Put it in a file and pass its name."
    check_size(conf, "its conf is", hint)
    size = size_of(conf)
    if size > most_bytes:
        most = f"at most {most_bytes / 1e6:g} MB can be sent along with runs"
        raise DagError(f"its conf is {size / 1e6:.1f} MB as JSON; {most}. {hint}")


def check_workflow_id(name: str) -> None:
    """Refuse ids that make too long a workflow id.

    Raises:
        DagError: it is too long.
    """
    size = len(name.encode())
    if size > WORKFLOW_ID_BYTES:
        raise DagError(
            f"the DAG id and the run id make a workflow id of {size} bytes; Temporal "
            f"takes {WORKFLOW_ID_BYTES}. Choose a shorter --run-id."
        )


def shortened(text: str, limit_bytes: int = SUMMARY_BYTES) -> str:
    """Cut off the end of a text that is too long."""
    raw = text.encode()
    if len(raw) <= limit_bytes:
        return text
    mark = "…"
    kept = raw[: limit_bytes - len(mark.encode())]
    return kept.decode(errors="ignore") + mark


def _written(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return str(value)
