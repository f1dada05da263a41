"""Computes the next runs of a DAG with Airflow's own timetables. Child side.

One child answers a batch of questions; each is told the time it is asked for, so that the answer depends on nothing
else. A timetable travels as the JSON Airflow's serialized DAG has, so no DAG file is read. A question is

    ask          "due": the runs due by ``now`` and the first after it; "between": those of a period that is over by
                 ``now``; "coming": those that follow ``now`` one by one
    timetable    as JSON
    earliest, latest, catchup    what ``TimeRestriction`` says
    last         the slot of the last run, or null
    now          ISO 8601
    limit        how many slots to answer with at most
    run_type     "scheduled" or "backfill"

and its answer ``{slots: [...]}`` or ``{error}``; ``Slot`` of ``appliance.dagrun.timing`` says what a slot is. A timetable
that does not answer in time is interrupted, and ``{is_asked: false}`` is said of those there was no time for.

Source: Airflow 3.3: ``serialization/definitions/dag.py`` (``next_dagrun_info``, ``iter_dagrun_infos_between``).
"""

import math
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, NoReturn

from airflow.timetables.assets import AssetOrTimeSchedule

from appliance.dagfile.dag_location import DagLocation, output_to
from appliance.forkserver import datagrams
from appliance.forkserver.airflow_internals import secrets, timetables


def answer(args: dict[str, Any], fds: list[int]) -> NoReturn:
    """Answer ``questions`` in order over the channel; then end.

    Args:
        args: As ``DagLocation`` reads them, and the ``questions``.
        fds: The channel, and where to write output.
    """
    channel = socket.socket(fileno=fds[0])
    place = DagLocation.of(args)
    with output_to(fds[1]):
        place.put_on_path()  # a custom timetable is a plugin
        until = time.monotonic() + EXCHANGE_S
        answers = [answered(question, until) for question in args["questions"]]
    datagrams.send(channel, {"op": "ready", "answers": answers})
    os._exit(0)


def facts_of(dag: Any, timetable: Any) -> dict[str, Any] | None:
    """Return what decides when a DAG runs; None when no clock ever does.

    Args:
        dag: The SDK's DAG object.
        timetable: Its timetable as the scheduler knows it.
    """
    if not timetable.can_be_scheduled:
        return None
    starts = [task.start_date for task in dag.tasks if task.start_date]
    ends = [task.end_date for task in dag.tasks if task.end_date]
    has_open_end = len(ends) < len(dag.tasks)
    starts += [dag.start_date] if dag.start_date else []
    ends += [dag.end_date] if dag.end_date else []
    latest = dag.end_date if has_open_end else max(ends, default=None)
    return {
        "timetable": timetables.encoded(timetable),
        "earliest": _iso(min(starts, default=None)),
        "latest": _iso(latest),
        "catchup": bool(dag.catchup),
        "max_active_runs": dag.max_active_runs,
        "is_strict": timetable.active_runs_limit is not None,
        "is_periodic": bool(timetable.periodic),
        "is_paused": dag.is_paused_upon_creation,
        "max_failures": dag.max_consecutive_failed_dag_runs or 0,
        "allows_scheduled": not dag.allowed_run_types
        or "scheduled" in {str(kind) for kind in dag.allowed_run_types},
    }


class _TooLongError(BaseException):
    """Not one that a timetable would catch."""


def remark_on(timetable: Any) -> str | None:
    """Return the part of a schedule that the appliance does not follow: its assets."""
    if not timetable.asset_condition:
        return None
    else_ = "nothing but its times starts runs"
    if not isinstance(timetable, AssetOrTimeSchedule):
        else_ = "submit it, or schedule it in appliance.yaml"
    return f"asset-triggered runs are not built yet: {else_}"


def answered(question: dict[str, Any], until: float = math.inf) -> dict[str, Any]:
    """Answer one question, by ``until`` on the monotonic clock."""
    left_s = until - time.monotonic()
    if left_s <= 0:
        return {"is_asked": False}
    limit_s = min(_ANSWER_S[question["ask"]], left_s)
    try:
        with _interrupted_after(limit_s):
            timetable = timetables.decoded(question["timetable"])
            found = _ASKED[question["ask"]](timetable, question)
            run_type = question["run_type"]
            slots = [
                _slot(timetable, info, run_type)
                for info in islice(found, question["limit"])
            ]
    except _TooLongError:
        if limit_s < _ANSWER_S[question["ask"]]:
            return {"is_asked": False}
        kind = question["timetable"]["__type"]
        return {"error": f"{kind} did not answer within {limit_s:g} s"}
    except Exception as error:  # noqa: BLE001 - whatever a custom timetable raises
        text = f"{type(error).__name__}: {error}"
        return {"error": secrets.without_secrets(text)}
    return {"slots": slots}


def _due(timetable: Any, question: dict[str, Any]) -> Iterator[Any]:
    now = timetables.moment(question["now"])
    allowed = _restriction(question)
    last = timetables.run_info(question["last"])
    while True:
        info = _next(timetable, last, allowed, now)
        if info is None:
            return
        yield info
        if info.run_after > now or timetable.active_runs_limit is not None:
            return
        last = info


def _coming(timetable: Any, question: dict[str, Any]) -> Iterator[Any]:
    now = timetables.moment(question["now"])
    allowed = _restriction(question)
    info = timetables.run_info(question["last"])
    while True:
        info = _next(timetable, info, allowed, now)
        if info is None:
            return
        yield info
        now = max(now, info.run_after)


def _between(timetable: Any, question: dict[str, Any]) -> Iterator[Any]:
    now = timetables.moment(question["now"])
    earliest = timetables.moment(question["earliest"])
    latest = timetables.moment(question["latest"])
    if timetable.partitioned:
        yield from timetable.iter_partition_dagrun_infos(
            earliest=earliest, latest=latest
        )
        return
    allowed = timetables.restriction(earliest, latest, catchup=True)
    info = None
    while (info := _next(timetable, info, allowed, now)) is not None:
        if info.data_interval is None or info.data_interval.end >= now:
            return
        yield info


EXCHANGE_S = 20.0
"""How long one child may answer."""
_ANSWER_S = {"due": 5.0, "coming": 15.0, "between": 15.0}
"""How long one timetable may take: others wait for it meanwhile, except for what a person asks."""
_ASKED = {"due": _due, "coming": _coming, "between": _between}


@contextmanager
def _interrupted_after(seconds: float) -> Iterator[None]:
    """Interrupt what takes longer, unless it is native code, which ends with this process."""

    def interrupt(_number: int, _frame: object) -> None:
        raise _TooLongError

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _next(timetable: Any, last: Any, allowed: Any, now: Any) -> Any:
    with timetables.clock(now):
        return timetable.next_dagrun_info_v2(last_dagrun_info=last, restriction=allowed)


def _restriction(question: dict[str, Any]) -> Any:
    return timetables.restriction(
        timetables.moment(question["earliest"]),
        timetables.moment(question["latest"]),
        catchup=question["catchup"],
    )


def _slot(timetable: Any, info: Any, run_type: str) -> dict[str, Any]:
    return {
        **timetables.slot_of(info),
        "run_id": timetables.run_id(timetable, info, run_type),
    }


def _iso(time: Any) -> str | None:
    return None if time is None else timetables.utc(time)
