"""Supervision of the triggerer's process, which holds all deferred waits of a worker. Imports no Airflow.

The process is forked when there is something to wait for and ends when there has been nothing for a while, so that it
costs nothing where nobody defers. It may die at any time: what it had in hand is given to the next one, as Airflow
gives the triggers of a dead triggerer to another. Every second it says what has happened and asks what to do:

    TriggerStateChanges {events, failures, finished}     TriggerStateSync {to_create, to_cancel, events_persisted}
"""

import asyncio
import itertools
import json
import logging
import signal
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from appliance.config.model import Secrets
from appliance.dagrun.attempt import ActivityTaskInput, RunFacts
from appliance.forkserver import frames
from appliance.forkserver.control import Child, ForkError, Zygote, ZygoteLostError
from appliance.taskrun import xcom_objects
from appliance.taskrun.channels import MAX_EVENT_BYTES, Channels, Lines, open_channels
from appliance.taskrun.kv_store import KvStoresProtocol
from appliance.taskrun.logs import echo_to_stdout
from appliance.taskrun.masking import Masker
from appliance.taskrun.protocols import RunView
from appliance.taskrun.remote_logs import RemoteLogs
from appliance.taskrun.replies import Replies
from appliance.triggers.wait import Fired, Wait, Workload

_T = TypeVar("_T")
_LOG = logging.getLogger(__name__)
_ENTRY = "appliance.triggers.runner:run"
_ASKED_BY = "trigger_id"
_IDLE_S = 60.0
_PAUSE_S = 1.0
_LAST_WORDS_S = 1.0
_LAST_UPLOADS_S = 10.0
"""For logs of waits that go on elsewhere, where they are uploaded again."""
UNCLAIMED_S = 120.0
"""How long a wait goes on that nobody claims: its server may have slept, and asks again."""


class Triggerer:
    """The waits, by id (``ActivityTaskInput.ti_id``). ``close`` it to end its process."""

    def __init__(
        self,
        *,
        zygote: Callable[[], Awaitable[Zygote]],
        place: dict[str, str],
        data: Path,
        secrets: Callable[[], Secrets],
        airflow_env: Mapping[str, str],
        kv_stores: KvStoresProtocol,
        run_of: Callable[[RunFacts], RunView],
        remote_logs: RemoteLogs | None = None,
        unclaimed_s: float = UNCLAIMED_S,
    ) -> None:
        """Start nothing yet.

        Args:
            zygote: Gives the base zygote, when there is one.
            place: Where the user's modules are, as ``Place`` reads it.
            data: The data folder.
            secrets: Gives the connections and Variables of the configuration in force.
            airflow_env: Airflow's settings.
            kv_stores: Where what triggers write is kept.
            run_of: Gives the run a wait is told of.
            remote_logs: Uploads what triggers write, if that is to be.
            unclaimed_s: How long a wait goes on that nobody claims.
        """
        self._zygote = zygote
        self._place = place
        self._data = data
        self._secrets = secrets
        self._airflow_env = airflow_env
        self._kv_stores = kv_stores
        self._masker = Masker(airflow_env)
        self._run_of = run_of
        self._remote_logs = remote_logs
        self._unclaimed_s = unclaimed_s
        self._waits: dict[str, Wait] = {}
        self._given: dict[int, Wait] = {}
        """What the runner has, by number; those it is to drop, too."""
        self._dropped: set[int] = set()
        self._confirmed: list[int] = []
        self._expiries: dict[str, asyncio.TimerHandle] = {}
        self._numbers = itertools.count(1)
        self._work: set[asyncio.Task[None]] = set()
        self._lines: list[Lines] = []
        self._keeper: asyncio.Task[None] | None = None
        self._child: Child | None = None

    def __len__(self) -> int:
        """Return how many waits there are."""
        return len(self._waits)

    def find(self, wait_id: str) -> asyncio.Future[Fired] | None:
        """Take hold of a wait that is under way; None: it is not here."""
        if expiry := self._expiries.pop(wait_id, None):
            expiry.cancel()
        wait = self._waits.get(wait_id)
        if wait is None:
            return None
        wait.holders += 1
        return wait.fired

    def open(
        self, task: ActivityTaskInput, workload: Workload
    ) -> asyncio.Future[Fired]:
        """Begin a wait."""
        wait = self._waits[task.ti_id] = Wait(
            task,
            workload,
            data=self._data,
            masker=Masker(self._airflow_env),
            replies=self._replies,
        )
        if self._remote_logs is not None:
            upload = self._remote_logs.begin(task, wait.log.file)
            self._soon(upload.after(wait.over.wait()))
        if self._keeper is None or self._keeper.done():
            self._keeper = asyncio.create_task(self._keep())
        return wait.fired

    def close_wait(self, wait_id: str) -> None:
        """Forget a wait: it has ended, or nobody wants it any more, which its trigger is told (``on_kill``)."""
        if wait := self._waits.pop(wait_id, None):
            wait.log.close()
            if wait.number in self._given:
                self._dropped.add(wait.number)
            else:
                wait.finish()

    def abandon(self, wait_id: str) -> None:
        """Give a wait back; unclaimed for a while, its trigger is cancelled without ``on_kill``."""
        wait = self._waits.get(wait_id)
        if wait is None:
            return
        wait.holders -= 1
        if wait.holders > 0:
            return  # Somebody has claimed it already.
        loop = asyncio.get_running_loop()
        self._expiries[wait_id] = loop.call_later(
            self._unclaimed_s, self._expire, wait_id
        )

    def confirm(self, number: int) -> None:
        """Note that an event is safe, so that its source may forget it."""
        self._confirmed.append(number)

    async def close(self) -> None:
        """End the process; the waits are begun again by whoever takes them over."""
        for expiry in self._expiries.values():
            expiry.cancel()
        if self._keeper is not None:
            self._keeper.cancel()
            with suppress(asyncio.CancelledError):
                await self._keeper
        _finish(self._waits.values())
        if self._work:
            _, late = await asyncio.wait(self._work, timeout=_LAST_UPLOADS_S)
            for upload in late:
                upload.cancel()

    def _expire(self, wait_id: str) -> None:
        del self._expiries[wait_id]
        wait = self._waits.pop(wait_id, None)
        if wait is None:
            return
        if self._child is None:
            wait.finish()
        else:
            # To be told to cancel means to be killed; the end of the process does not.
            self._child.kill(signal.SIGTERM)

    # -- the process

    async def _keep(self) -> None:
        """Have a process as long as there are waits, and a little longer."""
        while self._waits:
            try:
                await self._run(await self._zygote())
            except (ForkError, ZygoteLostError):
                _LOG.warning("the triggerer could not be started; trying again")
            except Exception:  # noqa: BLE001 - all waits are this loop's
                _LOG.exception("the triggerer ended; trying again")
            finally:
                self._take_back()
            if self._waits:
                await asyncio.sleep(_PAUSE_S)

    def _take_back(self) -> None:
        """Have given nothing to a process that has ended."""
        kept = set(self._waits.values())
        for wait in self._waits.values():
            wait.number = 0
        _finish(wait for wait in self._given.values() if wait not in kept)
        self._given.clear()
        self._dropped.clear()

    async def _run(self, zygote: Zygote) -> None:
        ours, theirs = open_channels()
        try:
            fds = theirs.fds()[:4]
            self._child = child = await zygote.fork(_ENTRY, dict(self._place), fds)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        lines = self._lines = self._listen(ours)
        loop = asyncio.get_running_loop()
        idle = asyncio.create_task(self._end_when_idle(child))
        try:
            with suppress(BrokenPipeError, ConnectionResetError):
                start = frames.opening({"type": "StartTriggerer"})
                await loop.sock_sendall(ours.requests, start)
                await frames.serve_many(ours.requests, self._answer)
            await child.exited()
        finally:
            idle.cancel()
            self._child = None
            await asyncio.shield(_end(child))
            for line in lines:
                line.close()
            ours.close()

    def _listen(self, ours: Channels) -> list[Lines]:
        return [
            Lines(ours.logs, self._event, max_bytes=MAX_EVENT_BYTES),
            Lines(ours.stdout, self._print),
            Lines(ours.stderr, self._print),
        ]

    async def _end_when_idle(self, child: Child) -> None:
        """End the process when it has had nothing to do: the next one has the user's code as it is then."""
        idle_s = 0.0
        while idle_s < _IDLE_S:
            await asyncio.sleep(_PAUSE_S)
            idle_s = 0.0 if self._waits else idle_s + _PAUSE_S
        child.kill(signal.SIGTERM)

    def _event(self, line: bytes) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            self._print(line)
        elif wait := self._given.get(event.pop(_ASKED_BY, 0)):
            wait.log.event(json.dumps(event).encode())
        elif event.get("level") not in ("info", "debug"):
            self._print(line)

    def _print(self, line: bytes) -> None:
        text = self._hide(line.decode(errors="replace").rstrip())
        echo_to_stdout(f"triggerer | {text}\n")

    def _hide(self, value: _T) -> _T:
        """Return what any wait may have said without the secrets of all of them; most have the same."""
        waits = (*self._waits.values(), *self._given.values())
        maskers = {wait.masker.known: wait.masker for wait in waits}
        hidden = self._masker.hide(value)
        for masker in maskers.values():
            hidden = masker.hide(hidden)
        return hidden

    # -- what it says and asks

    async def _answer(
        self, kind: str, body: dict[str, Any], sender: dict[str, str]
    ) -> frames.Reply:
        if kind == "TriggerStateChanges":
            return self._sync(body)
        wait = self._given.get(int(sender.get(_ASKED_BY, 0)))
        if wait is None:
            raise LookupError(f"{kind} was asked by no trigger that is known")
        return await wait.answer(kind, body)

    def _sync(self, body: dict[str, Any]) -> frames.Reply:
        for number, event, confirm in body.get("events") or ():
            if (wait := self._given.get(number)) is not None:
                self._soon(wait.fire(event, confirm))
        if failures := body.get("failures"):
            self._fail(failures)
        self._take_finished(body.get("finished") or ())
        confirmed, self._confirmed = self._confirmed, []
        sync = {
            "type": "TriggerStateSync",
            "to_create": [*self._new()],
            "to_cancel": sorted(self._dropped & self._given.keys()),
            "events_persisted": confirmed or None,
        }
        return frames.Reply(body=sync)

    def _fail(self, failures: list[tuple[int, list[str]]]) -> None:
        hidden = self._hide([traceback for _, traceback in failures])
        for (number, _), traceback in zip(failures, hidden, strict=True):
            if (wait := self._given.get(number)) is not None:
                wait.fail(traceback)

    def _take_finished(self, numbers: Iterable[int]) -> None:
        if numbers:  # What they have written is there, as it came first.
            for line in self._lines:
                line.drain()
        for number in numbers:
            if wait := self._given.pop(number, None):
                wait.finish()
            self._dropped.discard(number)

    def _new(self) -> Iterator[dict[str, Any]]:
        for wait in self._waits.values():
            if not wait.number and not wait.fired.done():
                try:
                    yield self._give(wait)
                except (ValueError, OverflowError) as err:  # Its time is none.
                    wait.fail([f"it cannot be waited for: {err}\n"])

    def _give(self, wait: Wait) -> dict[str, Any]:
        wait.number = next(self._numbers)
        told = wait.to_create()
        self._given[wait.number] = wait
        return told

    def _soon(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    def _replies(self, task: ActivityTaskInput, masker: Masker) -> Replies:
        async def store(row: Any) -> object:
            return await xcom_objects.store(await self._zygote(), task.run, row)

        return Replies(
            task,
            run=self._run_of(task.run),
            secrets=self._secrets(),
            masker=masker,
            store=store,
            log_fd=partial(_no_log, task.task_id),
            kv_stores=self._kv_stores,
            airflow_env=self._airflow_env,
        )


def _finish(waits: Iterable[Wait]) -> None:
    for wait in waits:
        wait.finish()


def _no_log(task_id: str) -> int:
    raise LookupError(f"{task_id}: a trigger has no log channel of its own")


async def _end(child: Child) -> None:
    """End a child that may have ended, a little later the hard way."""
    child.kill(signal.SIGTERM)
    with suppress(TimeoutError):
        await asyncio.wait_for(child.exited(), _LAST_WORDS_S)
    child.kill(signal.SIGKILL)
    await child.exited()
