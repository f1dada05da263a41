"""Corrections to the way in which Airflow 3.3.2 executes a task.

* ``execution_timeout`` is the limit of a whole try, as its documentation says, and goes on while the try is deferred;
  Airflow's begins anew whenever the try goes on (apache/airflow#73475).
* A try whose process is sent SIGTERM by somebody else than its worker fails; Airflow calls ``on_kill`` and lets it
  succeed (apache/airflow#73006). One whose end does not count, because it is stopped, calls nobody back about success.
* ``ExternalTaskSensor(check_existence=True)`` checks; Airflow's only notes that it had (apache/airflow#72514).

Touched: ``task_runner._prepare``, ``_execute_task``, ``_run_execute_callable``, ``_handle_current_task_success``,
``_defer_task`` and ``finalize`` are looked up in their module at each use, and ``_prepare`` comes after Airflow has
set its handler of SIGTERM; ``CommsDecoder._thread_lock``; ``timeout.timeout`` is imported by name at each use;
``ExternalTaskSensor._poke_af3`` and ``_has_checked_existence``.
"""

import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Literal, Protocol

from airflow.sdk.exceptions import (
    AirflowRescheduleException,
    AirflowRuntimeError,
    AirflowSkipException,
    AirflowTaskTimeout,
    DagRunTriggerException,
    DownstreamTasksSkipped,
    TaskAwaitingInput,
    TaskDeferred,
)
from airflow.sdk.execution_time import task_runner, timeout
from pydantic import BaseModel

_GOOD_ENDS = (
    AirflowRescheduleException,
    AirflowSkipException,
    DagRunTriggerException,
    DownstreamTasksSkipped,
    TaskAwaitingInput,
    TaskDeferred,
)
_SENSOR = "airflow.providers.standard.sensors.external_task"
_NOT_FOUND = 404


class Supervisor(Protocol):
    """Who supervises the try, as this process reaches him beside Airflow's own questions."""

    def limited(self, limit_s: float | None) -> None:
        """Hear that a time limit of Airflow's begins; None: it is over, or its interruption has reached Python code."""

    def signalled(self) -> None:
        """Hear that somebody else has sent SIGTERM."""

    def stopped(self) -> Literal["lost", "cancelled"] | None:
        """Say whether SIGTERM is his, and why; of a lost try nobody is told anything."""


class Terminated(BaseException):
    """The process of a task was sent SIGTERM; the task may be retried."""


class FindTasks(BaseModel):
    """Our own question to the supervisor: which tasks and task groups has a DAG?"""

    dag_id: str
    type: Literal["FindTasks"] = "FindTasks"


def put_right(supervisor: Supervisor, since: datetime | None) -> None:
    """Put right what the module's first lines tell, for the one try of this process.

    Args:
        supervisor: Who supervises it.
        since: When it began, if it goes on after it was deferred.
    """
    limits = _Limits(supervisor, since)
    limits.install()
    _Termination(supervisor).install()
    _check_existence()


class _Limits:
    """Counts the time limit of a try over all its parts."""

    def __init__(self, supervisor: Supervisor, since: datetime | None) -> None:
        self._supervisor = supervisor
        self._since = since
        self._began = since or _now()
        self._next_s: float | None = None
        """What is left for the limit that is set next."""

    def install(self) -> None:
        """Have Airflow's own limits end when that of the whole try does, and waits, too."""
        timeout.timeout = partial(_Told, self)
        run, defer = task_runner._run_execute_callable, task_runner._defer_task  # noqa: SLF001 - pinned, listed above
        task_runner._run_execute_callable = partial(self._run, run)  # noqa: SLF001 - pinned, listed above
        task_runner._defer_task = partial(self._defer, defer)  # noqa: SLF001 - pinned, listed above

    def told(self, limit_s: float | None) -> None:
        """Tell the supervisor."""
        self._supervisor.limited(limit_s)

    def taken_s(self) -> float | None:
        """Take what is left for the limit that is set now; None: all of it."""
        left_s, self._next_s = self._next_s, None
        return left_s

    def _run(self, run: Any, context: Any, execute: Any, task: Any) -> Any:
        if self._since is not None and task.execution_timeout:
            self._next_s = self._left(task.execution_timeout).total_seconds()
        return run(context, execute, task)

    def _defer(self, defer: Any, deferred: Any, ti: Any, log: Any) -> Any:
        if limit := ti.task.execution_timeout:
            left = max(self._left(limit), timedelta())
            given = deferred.timeout
            deferred.timeout = left if given is None else min(left, given)
        return defer(deferred, ti, log)

    def _left(self, limit: timedelta) -> timedelta:
        return limit - (_now() - self._began)


class _Told(timeout.TimeoutPosix):  # type: ignore[misc]
    """Airflow's limit of time, of which the supervisor hears."""

    def __init__(
        self, limits: _Limits, seconds: float = 1, error_message: str = "Timeout"
    ) -> None:
        super().__init__(seconds, error_message)
        self._limits = limits
        self._limit_s = seconds
        if (left_s := limits.taken_s()) is not None:
            self.seconds = min(seconds, left_s)

    def __enter__(self) -> Any:
        if self.seconds <= 0:
            self.handle_timeout(0, None)
        self._limits.told(self.seconds)
        return super().__enter__()

    def handle_timeout(self, signum: int, frame: object) -> None:
        self._limits.told(None)
        try:
            super().handle_timeout(signum, frame)
        except AirflowTaskTimeout as error:
            error.add_note(f"The time limit was {self._limit_s:g} s.")
            raise

    def __exit__(self, *error: object) -> None:
        self._limits.told(None)
        super().__exit__(*error)


class _Termination:
    """Sees to it that a try that was sent SIGTERM ends by it, and never well."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._itself = os.getpid()
        self._is_sent = False
        self._stopped: Literal["lost", "cancelled"] | None = None
        self._is_executing = False

    def install(self) -> None:
        """Hear SIGTERM in Airflow's place from when it has set its handler, and have no end count as a good one."""
        prepare, execute = task_runner._prepare, task_runner._execute_task  # noqa: SLF001 - pinned, listed above
        task_runner._prepare = partial(self._prepare, prepare)  # noqa: SLF001 - pinned, listed above
        task_runner._execute_task = partial(self._execute, execute)  # noqa: SLF001 - pinned, listed above
        succeed = task_runner._handle_current_task_success  # noqa: SLF001 - pinned, listed above
        task_runner._handle_current_task_success = partial(self._succeed, succeed)  # noqa: SLF001 - pinned, listed above
        task_runner.finalize = partial(self._finalize, task_runner.finalize)

    def _prepare(self, prepare: Any, ti: Any, log: Any, context: Any) -> Any:
        signal.signal(signal.SIGTERM, lambda *_: self._hear(ti))
        return prepare(ti, log, context)

    def _execute(self, execute: Any, context: Any, ti: Any, log: Any) -> Any:
        self._is_executing = True
        try:
            return execute(context, ti, log)
        except _GOOD_ENDS as end:
            if self._is_sent:
                raise self._terminated() from end
            raise
        finally:
            self._is_executing = False

    def _succeed(self, succeed: Any, context: Any, ti: Any) -> Any:
        if self._is_sent:
            raise self._terminated()
        return succeed(context, ti)

    def _finalize(self, finalize: Any, *args: Any, **kwargs: Any) -> None:
        if self._stopped != "lost":
            finalize(*args, **kwargs)

    def _terminated(self) -> Terminated:
        if self._stopped is not None:
            return Terminated("the task was stopped")
        return Terminated("the process of the task was sent SIGTERM from outside")

    def _hear(self, ti: Any) -> None:
        if self._is_sent or os.getpid() != self._itself:
            return
        self._is_sent = True
        self._stopped = self._supervisor.stopped()
        if self._stopped is None:
            self._supervisor.signalled()
        ti.task.on_kill()
        # Not in the middle of a question: whoever asks next would be given its answer.
        is_asking = task_runner.SUPERVISOR_COMMS._thread_lock.locked()  # noqa: SLF001 - pinned, listed above
        if self._stopped is None and self._is_executing and not is_asking:
            raise self._terminated()


def _check_existence() -> None:
    """Let ``ExternalTaskSensor`` ask whether there is what it waits for, before it waits for the first time."""
    if (sensors := sys.modules.get(_SENSOR)) is None:
        return
    sensor = sensors.ExternalTaskSensor
    poke, execute = sensor._poke_af3, sensor.execute  # noqa: SLF001 - pinned, listed above

    def poke_checked(self: Any, context: Any, dates: Any) -> Any:
        is_first = not (self._has_checked_existence or context["task_reschedule_count"])
        if self.check_existence and is_first:
            _find(self, sensors)
        return poke(self, context, dates)

    def execute_checked(self: Any, context: Any) -> Any:
        if self.deferrable and self.check_existence:
            _find(self, sensors)
        return execute(self, context)

    sensor._poke_af3 = poke_checked  # noqa: SLF001 - pinned, listed above
    sensor.execute = execute_checked


def _find(sensor: Any, sensors: Any) -> None:
    dag_id = sensor.external_dag_id
    try:
        found = task_runner.SUPERVISOR_COMMS.send(FindTasks(dag_id=dag_id)).value
    except AirflowRuntimeError as error:
        if (error.error.detail or {}).get("status_code") != _NOT_FOUND:
            raise
        raise sensors.ExternalDagNotFoundError(
            f"The external DAG {dag_id} does not exist."
        ) from error
    for task_id in sensor.external_task_ids or ():
        if task_id not in found["tasks"]:
            raise sensors.ExternalTaskNotFoundError(
                f"The external task {task_id} in DAG {dag_id} does not exist."
            )
    group = sensor.external_task_group_id
    if group and group not in found["groups"]:
        raise sensors.ExternalTaskGroupNotFoundError(
            f"The external task group '{group}' in DAG '{dag_id}' does not exist."
        )


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the edge that takes the time
