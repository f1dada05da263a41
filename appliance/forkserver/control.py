"""The worker's side of a zygote: start it, fork children from it, learn how they end.

Imports no Airflow. The protocol is in ``appliance.forkserver.zygote``. A ``Zygote`` belongs to the event
loop it was made in.
"""

import asyncio
import ctypes
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any, Self, TypeVar

from appliance.forkserver import datagrams, process_tree

_PR_SET_DUMPABLE = 4
_T = TypeVar("_T")
_LOOK_S = 0.2
_LOOKS_AFTER = 10


class ZygoteLostError(Exception):
    """The zygote is gone, so nothing can be forked from it; another has to be started."""


class ZygoteRefusedError(Exception):
    """Airflow cannot be prepared, and could not at a second try; the text says what to mend."""


class ForkError(Exception):
    """The kernel refused a new process; the text is its reason."""


@dataclass(frozen=True, slots=True)
class Exit:
    """How a child ended. ``code`` is negative for a signal, as in ``subprocess``."""

    code: int
    maxrss_kb: int = 0
    cpu_s: float = 0.0
    is_orphan: bool = False
    """Its zygote died, and it with it; nobody saw its exit code."""


class Child:
    """One forked process and its process group."""

    def __init__(self, zygote: "Zygote", token: str) -> None:
        self.pid = 0
        self._zygote = zygote
        self._token = token
        self._exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self._spawned: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def exited(self) -> Exit:
        """Wait until it has been reaped. Cancelling the wait changes nothing for others."""
        return await asyncio.shield(self._exit)

    @property
    def is_running(self) -> bool:
        """Whether no exit has been reported yet."""
        return not self._exit.done()

    def kill(self, number: int) -> None:
        """Signal its process group; nothing happens when it has ended."""
        if self.is_running:
            self._zygote.signal_child(self._token, number)

    async def spawned(self) -> Self:
        """Wait for its pid.

        Raises:
            ForkError: There is no such process.
            ZygoteLostError: The zygote died first.
        """
        await asyncio.shield(self._spawned)
        return self

    def heard(self, message: dict[str, Any]) -> None:
        """Take what the zygote says about it."""
        match message["op"]:
            case "spawned":
                self.pid = message["pid"]
                _settle(self._spawned, None)
            case "exited":
                usage = message["maxrss_kb"], message["cpu_s"]
                _settle(self._exit, Exit(message["code"], *usage))
            case "failed":
                _refuse(self._spawned, ForkError(message["error"]))
                _settle(self._exit, Exit(code=-signal.SIGKILL, is_orphan=True))
            case unknown:
                raise ValueError(f"no such report: {unknown}")

    def orphaned(self) -> None:
        """Its zygote is gone: the kernel has killed it, this kills what it started."""
        if self.pid and self.is_running:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        _refuse(self._spawned, ZygoteLostError("the zygote died while forking"))
        _settle(self._exit, Exit(code=-signal.SIGKILL, is_orphan=True))


class Zygote:
    """A control channel to one zygote: the base one, or one forked from it."""

    def __init__(self, channel: socket.socket) -> None:
        channel.setblocking(False)  # noqa: FBT003 - the standard library's signature
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._channel = channel
        self._children: dict[str, Child] = {}
        self._ready: asyncio.Future[dict[str, Any]] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        """Done when the zygote is gone, for whatever reason."""
        self.retired: asyncio.Future[None] = loop.create_future()
        """Done when it takes no more work: on ``retire`` and, at the latest, when closed."""
        self.ended: asyncio.Future[None] = loop.create_future()
        """Of one that was started: done some time after ``closed``, when its process is no more."""
        loop.add_reader(channel, self._listen)

    @classmethod
    async def start(
        cls, *, env: Mapping[str, str], preload: Sequence[str] = ()
    ) -> Self:
        """Start a base zygote with this environment and wait until Airflow is imported.

        Args:
            env: Its whole environment, and so that of every child.
            preload: Modules to import besides Airflow, so that no child has to.

        Raises:
            ZygoteLostError: It died on the way; its stderr says why.
            ZygoteRefusedError: What is configured cannot be used.
        """
        ours, theirs = datagrams.pair()
        with theirs, os.fdopen(os.memfd_create("said"), "r+b") as said:
            fds = [theirs.fileno(), said.fileno()]
            command = [sys.executable, "-m", "appliance.forkserver.zygote"]
            # Not asyncio's: the process is never waited for by a transport, and is reaped below.
            process = subprocess.Popen(  # noqa: ASYNC220 - fork and exec take a millisecond
                [*command, *map(str, fds), *preload],
                pass_fds=fds,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
            theirs.close()
            zygote = cls(ours)
            _PIDS.add(process.pid)
            zygote.closed.add_done_callback(lambda _: zygote._reap_soon(process))
            try:
                await zygote.ready()
            except ZygoteRefusedError:
                raise  # It says in a line what was printed at length.
            except ZygoteLostError:
                _pass_on(said)
                raise
            _pass_on(said)
        return zygote

    @classmethod
    def adopt(cls, channel: socket.socket) -> Self:
        """Speak to a forked zygote over our end of the channel its entry was given."""
        return cls(channel)

    async def ready(self) -> dict[str, Any]:
        """Wait for its ``{op: ready, ...}`` and return the whole message.

        Raises:
            ZygoteLostError: It ended without one.
        """
        return await asyncio.shield(self._ready)

    async def fork(
        self,
        entry: str,
        args: dict[str, Any],
        fds: Sequence[int] = (),
        *,
        is_ahead: bool = False,
    ) -> Child:
        """Fork a child that calls ``entry(args, fds)``; the caller closes its ``fds`` itself.

        One forked ahead of need gets its memory ready first, as another such child needed it.

        Raises:
            ForkError: The kernel refused.
            ZygoteLostError: There is no zygote (any more).
        """
        if self.closed.done():
            raise ZygoteLostError("the zygote is gone")
        token = uuid.uuid4().hex
        child = self._children[token] = Child(self, token)
        message = {
            "op": "fork",
            "token": token,
            "entry": entry,
            "args": args,
            "is_ahead": is_ahead,
        }
        try:
            await self._send(message, fds)
        except OSError as err:
            del self._children[token]
            child.orphaned()
            raise ZygoteLostError("the zygote is gone") from err
        return await child.spawned()

    async def fork_zygote(
        self, entry: str, args: dict[str, Any], fds: Sequence[int] = ()
    ) -> tuple[Child, "Zygote"]:
        """Fork a child that becomes a zygote: ``fds[0]`` of its entry is its control channel."""
        ours, theirs = datagrams.pair()
        try:
            child = await self.fork(entry, args, [theirs.fileno(), *fds])
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return child, Zygote.adopt(ours)

    @property
    def is_busy(self) -> bool:
        """Whether a child of it is running."""
        return bool(self._children)

    def retire(self) -> None:
        """Take no more work; the process exits after its last child."""
        _settle(self.retired, None)
        self._send_soon({"op": "retire"})

    def close(self) -> None:
        """Drop it: its children get a second to end, then are killed, and so is it."""
        if self.closed.done():
            return
        self._loop.remove_reader(self._channel)
        self._channel.close()
        lost = ZygoteLostError("the zygote ended")
        _refuse(self._ready, lost)
        _settle(self.retired, None)
        _settle(self.closed, None)
        for child in tuple(self._children.values()):
            child.orphaned()
        self._children.clear()

    def signal_child(self, token: str, number: int) -> None:
        """Have the zygote signal a child's group; only it knows whether the pid is still that child."""
        self._send_soon({"op": "kill", "token": token, "signal": int(number)})

    async def _send(self, message: dict[str, Any], fds: Sequence[int]) -> None:
        while True:
            try:
                return datagrams.send(self._channel, message, fds)
            except BlockingIOError:
                await self._writable()

    def _reap_soon(self, process: "subprocess.Popen[bytes]") -> None:
        async def reap() -> None:
            await asyncio.to_thread(process.wait)
            _PIDS.discard(process.pid)
            _settle(self.ended, None)

        _keep(self._loop.create_task(reap()))

    def _send_soon(self, message: dict[str, Any]) -> None:
        async def send() -> None:
            with suppress(OSError):
                await self._send(message, ())

        if not self.closed.done():
            _keep(self._loop.create_task(send()))

    async def _writable(self) -> None:
        free = self._loop.create_future()
        self._loop.add_writer(self._channel, _settle, free, None)
        try:
            await free
        finally:
            self._loop.remove_writer(self._channel)

    def _listen(self) -> None:
        try:
            received = datagrams.receive(self._channel)
        except BlockingIOError:
            return
        if received is None:
            self.close()
            return
        message, fds = received
        for fd in fds:
            os.close(fd)
        if message["op"] == "ready":
            _settle(self._ready, message)
            return
        if message["op"] == "refused":
            _refuse(self._ready, ZygoteRefusedError(message["why"]))
            return
        child = self._children.get(message["token"])
        if child is not None:
            child.heard(message)
            if not child.is_running:
                del self._children[message["token"]]


async def end_strangers() -> None:
    """Kill what a base zygote that was killed leaves to this process, which has adopted its orphans."""
    idle = 0
    while idle < _LOOKS_AFTER:
        # The kernel ends a zygote's children one after another.
        idle = 0 if process_tree.kill_children(but=_PIDS) else idle + 1
        await asyncio.sleep(_LOOK_S)


def shield_from_children() -> None:
    """Keep processes of the same user from reading this one's memory and environment.

    Children are given the secrets they ask for; the worker holds all of them.
    """
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _pass_on(said: IO[bytes]) -> None:
    """Print what a zygote has said while it started."""
    said.seek(0)
    with suppress(OSError):
        sys.stdout.write(said.read().decode(errors="replace"))
        sys.stdout.flush()


def _keep(task: "asyncio.Task[None]") -> None:
    """Hold on to a task nobody waits for; the loop itself only knows it weakly."""
    _KEPT.add(task)
    task.add_done_callback(_KEPT.discard)


_KEPT: "set[asyncio.Task[None]]" = set()
_PIDS: set[int] = set()
"""Of the base zygotes of this process that were not reaped yet."""


def _settle(future: "asyncio.Future[_T]", value: _T) -> None:
    if not future.done():
        future.set_result(value)


def _refuse(future: "asyncio.Future[Any]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # Whoever waits still gets it; nobody waiting is no complaint.
