"""Supervision of one try: start the child, answer its requests, keep its output, find out how it ended.

Nothing a cancelled try reports counts any more.
"""

import asyncio
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from appliance.config.model import Secrets
from appliance.dagrun.attempt import ActivityTaskInput, TaskExecutionResult
from appliance.dagrun.deferral import MASKS
from appliance.dagrun.states import TaskState
from appliance.forkserver import datagrams, frames
from appliance.forkserver.control import Exit, Zygote
from appliance.taskrun import xcom_objects
from appliance.taskrun.assets import Asset
from appliance.taskrun.channels import MAX_EVENT_BYTES, Lines
from appliance.taskrun.deadlines import Deadlines
from appliance.taskrun.exit_state import cause_of_death, final_state
from appliance.taskrun.kv_store import KvStoresProtocol
from appliance.taskrun.logs import TryLog, echo_to_stdout
from appliance.taskrun.masking import Masker
from appliance.taskrun.prefork import PreforkedChild, PreforkedChildren
from appliance.taskrun.protocols import RunView
from appliance.taskrun.remote_logs import RemoteLogs
from appliance.taskrun.replies import Replies
from appliance.taskrun.startup import (
    callback_request,
    should_retry,
    startup_details,
)
from appliance.taskrun.xcoms import MAX_MAP_LENGTH

LOST = "lost"
"""The message to cancel a try with that will be run again: nobody is told of its end."""
OVERTIME_S = 20.0
"""Airflow's default of ``core.task_success_overtime``: what runs after the end was reported gets this long."""
CALLBACKS_S = 50.0
"""Airflow's default of ``dag_processor.dag_file_processor_timeout``: callbacks of a DAG get this long."""
_LATE_OUTPUT_S = 1.0
_TEARDOWN_S = 10.0
_SILENT = (
    "its process ended with code 0 before it said how the task went (os._exit?); "
    "Airflow counts that as success"
)
_FAILURES = frozenset((TaskState.FAILED, TaskState.UP_FOR_RETRY))


@dataclass(frozen=True, slots=True)
class TryHost:
    """What the tries of one worker share."""

    data: Path
    """The data folder; logs are kept below it."""
    secrets: Secrets
    airflow_env: Mapping[str, str]
    grace_s: float
    """Seconds a cancelled try gets to end after SIGTERM before it is killed."""
    preforked: PreforkedChildren
    kv_stores: KvStoresProtocol
    """Where tries keep what others may read."""
    echo: Callable[[str], None] = echo_to_stdout
    overtime_s: float = OVERTIME_S
    callbacks_s: float = CALLBACKS_S
    max_map_length: int = MAX_MAP_LENGTH
    remote_logs: RemoteLogs | None = None

    async def run_try(
        self,
        task: ActivityTaskInput,
        *,
        zygote: Zygote,
        run: RunView,
        assets: Sequence[Asset] = (),
    ) -> TaskExecutionResult:
        """Run one try in a child of ``zygote``; ``task.run.conf`` None counts as empty.

        ``assets``: what the file of its DAG declares.

        Cancelling it ends the child: SIGTERM, the grace, SIGKILL, then CancelledError.

        Raises:
            ForkError: The kernel refused a process; the try has not begun.
            ZygoteLostError: The zygote died; the try has not begun.
        """
        orders = await _orders(task, run)
        prepared = await self.preforked.take(zygote)
        attempt = _Attempt(
            self, task, prepared=prepared, zygote=zygote, run=run, assets=assets
        )
        remote, log = self.remote_logs, attempt.log_file
        upload = remote.begin(task, log) if remote else None
        try:
            return await attempt.run(orders)
        finally:
            end = attempt.clear_away()
            self.preforked.keep(end if upload is None else upload.after(end))
            self.preforked.refill(zygote)


async def _orders(task: ActivityTaskInput, run: RunView) -> dict[str, Any]:
    """Return the ids the child is to ask for here before it asks anybody else."""
    secrets = await run.secrets() if task.run.is_sealed else None
    return {
        "connections": sorted(secrets.connections) if secrets else [],
        "variables": sorted(secrets.variables) if secrets else [],
    }


def _handed_on(task: ActivityTaskInput) -> Any:
    """Return the secrets this try may know because it knew them before it was parked."""
    sealed = task.resume.sealed if task.resume else None
    return (sealed or {}).get(MASKS)


class _Attempt:
    """The supervision of one child."""

    def __init__(
        self,
        host: TryHost,
        task: ActivityTaskInput,
        *,
        prepared: PreforkedChild,
        zygote: Zygote,
        run: RunView,
        assets: Sequence[Asset],
    ) -> None:
        self._host = host
        self._task = task
        self._child = prepared.child
        self._channels = prepared.channels
        self._loop = asyncio.get_running_loop()
        masker = Masker(host.airflow_env)
        masker.add(_handed_on(task))
        self._log = TryLog(
            task, data=host.data, masker=masker, now=_now, echo=host.echo
        )
        self._replies = Replies(
            task,
            run=run,
            secrets=host.secrets,
            masker=masker,
            store=partial(xcom_objects.store, zygote, task.run),
            log_fd=self._another_log,
            kv_stores=host.kv_stores,
            assets=assets,
            airflow_env=host.airflow_env,
            max_map_length=host.max_map_length,
        )
        events = self._channels.logs
        self._lines = [
            Lines(events, self._log.event, max_bytes=MAX_EVENT_BYTES),
            Lines(self._channels.stdout, self._log.stdout),
            Lines(self._channels.stderr, self._log.stderr),
        ]
        self._more_logs: list[socket.socket] = []
        self._last_message: asyncio.Future[Exit] = self._loop.create_future()
        self._is_signalled = False
        """Whether somebody else has sent it SIGTERM."""
        self._deadlines = Deadlines(
            self._child, self._log, grace_s=host.grace_s, overtime_s=host.overtime_s
        )

    @property
    def log_file(self) -> PurePosixPath:
        """Where its log is, relative to the data folder."""
        return self._log.file

    async def run(self, orders: dict[str, Any]) -> TaskExecutionResult:
        """See the try through."""
        start_date = _now().isoformat()
        self._loop.add_reader(self._channels.control.fileno(), self._hear)
        serving = asyncio.create_task(
            frames.serve(self._channels.requests, self._answer)
        )
        try:
            await self._send_orders(orders, start_date)
            ended = await self._end()
        except asyncio.CancelledError as cancelled:
            await self._stop(is_lost=LOST in cancelled.args)
            raise
        finally:
            # The child was blocked until its last question was answered.
            serving.cancel()
            self._settle()
        return self._result(ended, start_date)

    async def clear_away(self) -> None:
        """Reap the child, take what processes it left behind still print, close everything."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._child.exited(), _TEARDOWN_S)
        self._child.kill(signal.SIGKILL)
        await self._child.exited()
        if any(lines.is_open for lines in self._lines):
            await asyncio.sleep(_LATE_OUTPUT_S)
        for lines in self._lines:
            lines.close()
        self._log.close()
        self._channels.close()
        for sock in self._more_logs:
            sock.close()

    async def _send_orders(self, orders: dict[str, Any], start_date: str) -> None:
        conf = self._task.run.conf or {}
        if self._task.callback is not None:
            orders["callback"] = callback_request(self._task, conf=conf)
            self._deadlines.only_calls_back(self._host.callbacks_s)
            with suppress(BrokenPipeError, ConnectionResetError):  # As below.
                datagrams.send(self._channels.control, orders)
            return
        details = startup_details(self._task, conf=conf, start_date=start_date)
        if (resume := self._task.resume) and not resume.is_answered:
            orders["since"] = resume.start_date
        frame = frames.opening(details)
        with suppress(BrokenPipeError, ConnectionResetError):  # It died; _end says how.
            datagrams.send(self._channels.control, orders)
            await self._loop.sock_sendall(self._channels.requests, frame)

    async def _end(self) -> Exit:
        """Wait for the child's last word, or its death without one."""
        exited = asyncio.ensure_future(self._child.exited())
        try:
            await asyncio.wait(
                (self._last_message, exited), return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            exited.cancel()
        while self._hear():  # Both may have come in one go.
            pass
        return (
            self._last_message.result()
            if self._last_message.done()
            else exited.result()
        )

    async def _stop(self, *, is_lost: bool) -> None:
        """End the child, whatever it is doing."""
        self._log.say("warning", "cancelled: sending SIGTERM")
        with suppress(OSError):  # It ended meanwhile.
            why = "lost" if is_lost else "cancelled"
            datagrams.send(self._channels.control, {"stopped": why})
        self._child.kill(signal.SIGTERM)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._child.exited(), self._host.grace_s)
        finally:
            if self._child.is_running:
                self._log.say("warning", "still running: sending SIGKILL")
            self._child.kill(signal.SIGKILL)
        await self._child.exited()

    def _settle(self) -> None:
        self._deadlines.close()
        self._loop.remove_reader(self._channels.control.fileno())
        for lines in self._lines:
            lines.drain()
        self._log.flush()

    async def _answer(self, kind: str, body: dict[str, Any]) -> frames.Reply:
        reply = await self._replies.answer(kind, body)
        if self._replies.ending.state is not None:
            self._deadlines.reported()
        return reply

    def _hear(self) -> bool:
        """Take what the child says over control; False when there is no more."""
        if self._last_message.done():
            return False
        try:
            heard = datagrams.receive(self._channels.control)
        except BlockingIOError:
            return False
        if heard is None:
            self._loop.remove_reader(self._channels.control.fileno())
            return False
        message, _ = heard
        if "code" in message:
            self._loop.remove_reader(self._channels.control.fileno())
            self._last_message.set_result(Exit(message["code"]))
        elif "signalled" in message:
            self._is_signalled = True
        else:
            self._deadlines.limited(message["limit_s"])
        return True

    def _another_log(self) -> int:
        ours, theirs = socket.socketpair()
        ours.settimeout(0)
        self._more_logs.append(ours)
        self._lines.append(Lines(ours, self._log.event, max_bytes=MAX_EVENT_BYTES))
        return theirs.detach()

    def _result(self, ended: Exit, start_date: str) -> TaskExecutionResult:
        reported = self._replies.ending.state
        state = final_state(
            ended.code,
            reported,
            is_retried=should_retry(self._task),
            is_signalled=self._is_signalled,
        )
        death = self._death(ended) if state != reported else None
        error = self._error(ended, death) if state in _FAILURES else None
        if death is not None:
            self._log.say("critical", death)
        elif reported is None and self._task.callback is None:
            self._log.say("warning", _SILENT)
        self._log.flush()
        return self._replies.outcome(
            state,
            start_date=start_date,
            now=_now(),
            error=error,
            log=str(self._log.file),
        )

    def _death(self, ended: Exit) -> str | None:
        is_aborted = ended.code == -signal.SIGABRT or ended.code == -signal.SIGKILL
        if self._deadlines.reason is not None and is_aborted:
            return self._deadlines.reason
        return cause_of_death(ended, is_signalled=self._is_signalled)

    def _error(self, ended: Exit, death: str | None) -> str | None:
        """Say why the try failed: a line, and below it the traceback if there is one.

        Who was killed has not said why; who left may have, and all else is told last.
        """
        failure = self._log.failure()
        if failure is None or (death is not None and ended.code < 0):
            parts = [death, self._log.stderr_tail() if death else None]
        else:
            told = (
                f"{failure.error} ({failure.hint})" if failure.hint else failure.error
            )
            parts = [told, failure.traceback, death]
        return "\n".join(part.rstrip() for part in parts if part) or None


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the edge that takes the time
