"""Entry points of forked children: one try, the callbacks of a DAG, or a function on XComs. Imports Airflow.

A try's descriptors are requests, stdout, stderr, logs and control, in this order. Over control the
child is told what it may begin with (``{connections, variables}``, ids of what the run was
submitted with; ``since``, when the try began if it goes on after it was deferred; ``callback``, what to call instead
of running a task), and that it is stopped (``{stopped}``: "lost" or "cancelled"). It tells when a time limit begins or
is over (``{limit_s}``), that somebody else has sent SIGTERM (``{signalled}``), and sends ``{code}`` as its last word,
when all output is written: ending a large process takes milliseconds, and its try is over before them.
"""

import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any, Literal, NoReturn

from appliance.forkserver import child_call, datagrams
from appliance.forkserver.airflow_internals import (
    callbacks,
    child_process,
    execution,
    listeners,
    remote_logs,
    secrets,
    xcoms,
)
from appliance.taskrun.startup import LISTENERS


def run_task(_args: dict[str, Any], fds: list[int]) -> NoReturn:
    """Wait for orders, run the try they are for, report the exit code and exit with it."""
    requests, stdout, stderr = (socket.socket(fileno=fd) for fd in fds[:3])
    logs_fd, control = fds[3], socket.socket(fileno=fds[4])
    child_process.take_channels(requests, stdout, stderr, logs_fd)
    for sock in (requests, stdout, stderr):
        sock.close()
    os.close(logs_fd)
    orders = datagrams.receive(control)
    if orders is None:
        os._exit(0)  # A spare nobody needed: no example for others.
    _begin(orders[0])
    supervisor = _Supervisor(control)
    since = orders[0].get("since")
    execution.put_right(supervisor, datetime.fromisoformat(since) if since else None)
    code = child_process.exit_code_of(_work(orders[0]))
    supervisor.ended(code)
    sys.exit(code)


class _Supervisor:
    """Who supervises the try; for its process only, not for one the task forked and let run on."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._itself = os.getpid()

    def limited(self, limit_s: float | None) -> None:
        self._say({"limit_s": limit_s})

    def signalled(self) -> None:
        self._say({"signalled": True})

    def ended(self, code: int) -> None:
        if os.getpid() == self._itself:
            with suppress(OSError):
                os.close(child_process.LOG_FD)
        self._say({"code": code})

    def stopped(self) -> Literal["lost", "cancelled"] | None:
        self._control.setblocking(False)  # noqa: FBT003 - as the standard library has it
        try:
            heard = datagrams.receive(self._control)
        except BlockingIOError:
            return None
        except OSError:  # The task has closed it.
            return None
        return "lost" if heard is None else heard[0]["stopped"]

    def _say(self, message: dict[str, Any]) -> None:
        if os.getpid() == self._itself:
            with suppress(OSError):  # The task may have closed it.
                datagrams.send(self._control, message)


def store_xcom(_args: dict[str, Any], fds: list[int]) -> None:
    """Put ``{value, where}`` from the first descriptor away; write what to keep to it."""
    child_call.answer(
        fds[0], lambda given: xcoms.store(given["value"], **given["where"])
    )


def resolve_xcoms(_args: dict[str, Any], fds: list[int]) -> None:
    """Turn the list of stored values in the first descriptor into what they stand for."""
    child_call.answer(fds[0], lambda given: [xcoms.resolve(value) for value in given])


def _work(orders: dict[str, Any]) -> Callable[[], None]:
    """Return what the child is for: a try, or what is called when a run has ended."""
    if (request := orders.get("callback")) is None:
        return child_process.run_task
    is_for_plugins = request["type"] == LISTENERS
    return partial(listeners.run if is_for_plugins else callbacks.run, request)


def purge_xcoms(_args: dict[str, Any], fds: list[int]) -> None:
    """Delete XComs of the list of ``[dag_id, run_id]`` in the first descriptor."""

    def work(runs: list[list[str]]) -> None:
        for dag_id, run_id in runs:
            xcoms.purge(dag_id, run_id)

    child_call.answer(fds[0], work)


def upload_log(_args: dict[str, Any], fds: list[int]) -> None:
    """Upload the log ``{file, start, ti}`` of the first descriptor; write ``{error, end}`` to it.

    Questions for connections go over the second.
    """
    questions = socket.socket(fileno=fds[1])

    def work(given: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"error": None, "end": remote_logs.upload(given, questions)}
        except Exception as error:  # noqa: BLE001 - the user's class decides what is raised
            return {"error": remote_logs.explained(error), "end": 0}

    child_call.answer(fds[0], work)


def _begin(orders: dict[str, Any]) -> None:
    connections, variables = orders["connections"], orders["variables"]
    if connections or variables:
        secrets.ask_supervisor_first(frozenset(connections), frozenset(variables))
    if (random := sys.modules.get("numpy.random")) is not None:
        random.seed()  # A fork inherits its state: every try would draw the same numbers.
