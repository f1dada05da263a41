"""The process that children are forked from, and the fork server that a child may itself become.

Started as ``python -m appliance.forkserver.zygote FD SAID PRELOAD...``: Airflow and the modules named are
imported, what is printed meanwhile goes to SAID, then requests on the control channel FD are served. One thread, always: a fork copies
only the calling thread and leaves the locks of the others held forever.

Messages on the channel (``appliance.forkserver.datagrams``), ours on the right:

                                                      {op: ready, pid, plugin_errors}, or
                                                      {op: refused, why}, and the end

    {op: fork, token, entry: "package.module:function", args,
     is_ahead} + fds                                      {op: spawned, token, pid}
                                                      {op: failed, token, error}
                                                      {op: exited, token, pid, code, maxrss_kb, cpu_s}
    {op: kill, token, signal}       to the child's process group and whom it started outside that
    {op: retire}                    exit after the last child
    end of file                     SIGTERM to every child's group, a short grace, SIGKILL, exit

What a child leaves behind is ended after it (``appliance.forkserver.orphans``), at once if the child was killed.

A child calls ``function(args, fds)`` and exits: with 0 when it returns, else with the code it gives
``sys.exit``. A child forked ahead of need (``is_ahead``) first readies its memory. A function that ends in
``serve(channel)`` makes the child a zygote of its own; before that it sends ``{op: ready, ...}``.
Only a parent can reap, so the exit codes come from here.
"""

import ctypes
import importlib
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from appliance.forkserver import datagrams, memory, process_tree, start_error
from appliance.forkserver.orphans import Orphans

EXPENDABLE = 800
"""``oom_score_adj`` of children: out of memory must hit a try, never a zygote or the server."""

_PR_SET_PDEATHSIG = 1
_CRASHED = 123
_LAST_WORDS_S = 1.0
_BURIAL_S = 1.0
"""Killed processes take milliseconds to end."""
_OOM_SCORE = Path("/proc/self/oom_score_adj")

Entry = Callable[[dict[str, Any], list[int]], object]


def serve(channel: socket.socket, *, grace_s: float = _LAST_WORDS_S) -> NoReturn:
    """Fork on demand and report exits until the other side is gone; then end all children."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if _OOM_SCORE.read_text().strip() == str(EXPENDABLE):
        _OOM_SCORE.write_text("0")
    nursery = _Nursery(channel)
    nursery.watch()
    nursery.end_all(grace_s)
    os._exit(0)


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass(slots=True)
class _Nursery:
    """The children of this process, by pidfd."""

    channel: socket.socket
    children: dict[int, tuple[int, str]] = field(default_factory=dict)
    """pidfd → (pid, token)."""
    poller: select.poll = field(default_factory=select.poll)
    is_retired: bool = False
    footprints: memory.Footprints = field(default_factory=memory.Footprints)
    signalled: set[str] = field(default_factory=set)
    """Tokens of children that were told to end."""
    orphans: Orphans = field(init=False)

    def __post_init__(self) -> None:
        self.orphans = Orphans(self.poller)

    def watch(self) -> None:
        """Serve until the channel ends, or until retired and childless; then who is above looks after the orphans."""
        self.poller.register(self.channel, select.POLLIN)
        while not (self.is_retired and not self.children):
            for fd, _ in self.poller.poll(self.orphans.patience_ms()):
                if fd in self.children or fd in self.orphans:
                    self.reap(fd)
                elif not self.obey():
                    return
            self.orphans.remind()

    def obey(self) -> bool:
        """Do what the next message asks; False when there is nobody to ask any more."""
        received = datagrams.receive(self.channel)
        if received is None:
            return False
        message, fds = received
        match message["op"]:
            case "fork":
                self.fork(message, fds)
            case "kill":
                self.kill(message["token"], message["signal"])
            case "retire":
                self.is_retired = True
            case unknown:
                raise ValueError(f"no such request: {unknown}")
        return True

    def fork(self, message: dict[str, Any], fds: list[int]) -> None:
        token = message["token"]
        try:
            pid = os.fork()
        except OSError as error:
            self.report({"op": "failed", "token": token, "error": str(error)})
            return
        if pid == 0:
            self.become_child(message, fds)
        os.setpgid(pid, pid)
        for fd in fds:
            os.close(fd)
        pidfd = os.pidfd_open(pid)
        self.children[pidfd] = (pid, token)
        self.poller.register(pidfd, select.POLLIN)
        self.report({"op": "spawned", "token": token, "pid": pid})

    def become_child(self, message: dict[str, Any], fds: list[int]) -> NoReturn:
        """Run the entry in the child; whatever it does, this never returns."""
        code = _CRASHED
        try:
            die_with_parent()
            os.setpgid(0, 0)
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            _OOM_SCORE.write_text(str(EXPENDABLE))
            process_tree.adopt_orphans()
            self.channel.close()
            for pidfd in (*self.children, *self.orphans):
                os.close(pidfd)
            code = self.call(message, fds)
        except BaseException:  # noqa: BLE001 - the last frame of a process: say it and end
            traceback.print_exc()
        finally:
            os._exit(code)

    def call(self, message: dict[str, Any], fds: list[int]) -> int:
        """Call the entry and return the exit code."""
        if message["is_ahead"]:
            self.footprints.follow()
        code = 0
        try:
            _entry(message["entry"])(message["args"], fds)
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        if message["is_ahead"]:
            self.footprints.leave()
        return code

    def kill(self, token: str, number: int) -> None:
        """Signal a child not reaped yet, so never a stranger with its old pid."""
        for pid, owner in self.children.values():
            if owner == token:
                process_tree.signal_family(pid, number)
                self.signalled.add(token)

    def reap(self, pidfd: int) -> None:
        if pidfd in self.orphans:
            self.orphans.bury(pidfd)
            self.find_orphans(at_once=False)
            return
        pid, token = self.children.pop(pidfd)
        self.poller.unregister(pidfd)
        os.close(pidfd)
        _, status, usage = os.wait4(pid, 0)
        self.report(
            {
                "op": "exited",
                "token": token,
                "pid": pid,
                "code": os.waitstatus_to_exitcode(status),
                "maxrss_kb": usage.ru_maxrss,
                "cpu_s": usage.ru_utime + usage.ru_stime,
            }
        )
        self.find_orphans(at_once=token in self.signalled)
        self.signalled.discard(token)

    def find_orphans(self, *, at_once: bool) -> None:
        known = [pid for pid, _ in self.children.values()]
        self.orphans.find(known, at_once=at_once)

    def report(self, message: dict[str, Any]) -> None:
        try:
            datagrams.send(self.channel, message)
        except OSError:
            return  # The worker is gone; the channel's end of file says what to do.

    def end_all(self, grace_s: float) -> None:
        """Let every child call its ``on_kill``, then kill what is left."""
        for pid, _ in self.children.values():
            # The group alone: a zygote among them sees to its own children.
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGTERM)
        self.poller.unregister(self.channel)
        self.orphans.end()
        self.wait_for_ends(grace_s)
        for _, token in self.children.values():
            self.kill(token, signal.SIGKILL)
        self.wait_for_ends(_BURIAL_S)

    def wait_for_ends(self, most_s: float) -> None:
        """Reap children, and kill what they leave behind, until none is there or time is up."""
        deadline = time.monotonic() + most_s
        self.find_orphans(at_once=True)
        while (self.children or len(self.orphans)) and (
            left_s := deadline - time.monotonic()
        ) > 0:
            for fd, _ in self.poller.poll(left_s * 1000):
                self.reap(fd)
            self.find_orphans(at_once=True)


def _entry(name: str) -> Entry:
    module, _, function = name.partition(":")
    entry: Entry = getattr(importlib.import_module(module), function)
    return entry


def main() -> NoReturn:
    """Become the base zygote: import, warm, report ready, serve."""
    die_with_parent()
    process_tree.adopt_orphans()
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    with _speaking_to(int(sys.argv[2])):
        prepared = _prepared(sys.argv[3:])
    if isinstance(prepared, _Refusal):
        if prepared.trace is not None:
            traceback.print_tb(prepared.trace)
        datagrams.send(channel, {"op": "refused", "why": prepared.why})
        os._exit(_CRASHED)
    ready = {"op": "ready", "pid": os.getpid(), "plugin_errors": prepared}
    datagrams.send(channel, ready)
    serve(channel, grace_s=3 * _LAST_WORDS_S)


@contextmanager
def _speaking_to(fd: int) -> Iterator[None]:
    """Have what this process prints go to ``fd``: Airflow may say a dozen times what is told in a line."""
    kept = [(name, os.dup(name)) for name in (1, 2)]
    for name, _ in kept:
        os.dup2(fd, name, inheritable=True)
    os.close(fd)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for name, stream in kept:
            os.dup2(stream, name, inheritable=True)
            os.close(stream)


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why Airflow cannot be prepared, and where it happened unless that says it."""

    why: str
    trace: TracebackType | None


def _prepared(modules: list[str]) -> dict[str, str] | _Refusal:
    """Import and compute what children need; return why plugins could not be imported, by file."""
    try:
        # Imported here: importing Airflow takes seconds, and must die with the worker from the start.
        from appliance.forkserver import immortal_objects, memory
        from appliance.forkserver.airflow_internals import preparation

        plugin_errors = preparation.prepare()
        for module in modules:
            importlib.import_module(module)
        immortal_objects.make_immortal()
        memory.freeze()
        memory.use_huge_pages()
    except BaseException as error:
        if start_error.may_pass(error):
            raise
        why, is_known = start_error.fault(error)
        return _Refusal(why, None if is_known else error.__traceback__)
    return plugin_errors


if __name__ == "__main__":
    main()
