"""Starts the children that list, read and check DAG files, and reads their reports. Worker side.

One child a question. It may do what it likes, end included: what comes back is its report, or
``ParseError`` with what became of it. Imports no Airflow.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from appliance.config.model import DagSettings
from appliance.dagfile.import_errors import crash_line
from appliance.dagfile.models import FileError
from appliance.dagfile.parse_output import ParseOutput
from appliance.forkserver import frames
from appliance.forkserver.control import Child, Zygote, ZygoteLostError

PRELOAD = (
    "appliance.dagfile.discovery",
    "appliance.dagfile.parse_child",
    "appliance.dagfile.run_checks",
    "appliance.dagfile.timetables",
    "airflow.models.serialized_dag",
    "airflow.sdk.bases.sensor",
    "airflow.sdk.definitions.decorators",
    "airflow.providers.standard.decorators.python",
    "airflow.providers.standard.operators.bash",
    "airflow.providers.standard.operators.empty",
    "airflow.providers.standard.operators.python",
    "airflow.providers.standard.operators.trigger_dagrun",
    "airflow.providers.standard.sensors.external_task",
)
"""Modules the base zygote should import, so that no child has to: what most files need."""

_T = TypeVar("_T")
_KILL_AFTER_S = 3.0
"""Seconds beyond its own time limit a child gets, which it should not need."""
_LAST_LINES = 5
_LINE_CHARS = 300
_LISTING_S = 60.0
_TIMETABLES = "appliance.dagfile.timetables:answer"
_TIMETABLES_S = 25.0
"""More than those may take that can be interrupted: ``timetables.EXCHANGE_S``."""
_SHOWN = frozenset(("error", "errors"))
_SHOWN_OF_A_DAG = ("description", "owners", "tags", "refusals")
"""Fields of a report whose text comes from the DAG file."""
_KILLED = "the process reading it was killed, most likely for want of memory"
_WATCHDOG = "Timeout ("
"""How faulthandler's dump begins when it ends a process that does not heed its time limit."""


class Answers(Protocol):
    """Who answers one child, and knows what must not be seen of it afterwards."""

    async def answer(self, kind: str, body: dict[str, Any]) -> frames.Reply:
        """Answer one question."""
        ...

    def hide(self, value: _T) -> _T:
        """Return text or JSON without any secret the child has learnt."""
        ...


class ParseError(Exception):
    """The child ended, or was ended, without a report; the text says how.

    ``output`` is what it wrote, without secrets.
    """

    def __init__(self, reason: str, output: str = "") -> None:
        super().__init__(reason)
        self.output = output


class ParseTimeout(ParseError):
    """The parse exceeded its time limit: the file hangs, or the machine is slow."""


class ParseKilled(ParseError):
    """Somebody else killed it, or the kernel for want of memory: the file need not be at fault."""


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """What a child read of a file, and the zygote to fork its tries from, if one was kept."""

    report: dict[str, Any]
    reasons: tuple[str, ...]
    """Why tries must read the file themselves."""
    zygote: Zygote | None
    has_asked: bool = False
    """Whether the file asked for a Variable or anything else that can be answered otherwise."""

    @property
    def is_late(self) -> bool:
        """Whether Airflow interrupted it, as it took longer than it may."""
        is_late: bool = self.report["is_late"]
        return is_late


@dataclass(frozen=True, slots=True)
class _Told:
    report: dict[str, Any]
    zygote: Zygote
    has_asked: bool


class ParseHost:
    """Forks the children; ``zygote`` is the base zygote, replaced when it was lost."""

    def __init__(
        self,
        *,
        root: Path,
        zygote: Zygote,
        settings: DagSettings,
        answers: Callable[[], Answers],
    ) -> None:
        self.zygote = zygote
        self._answers = answers
        self._root = root
        self._settings = settings
        self._limit = asyncio.Semaphore(os.cpu_count() or 2)
        self._place = {"root": str(root), "plugins": str(settings.plugins_folder)}

    async def list_files(self) -> tuple[tuple[str, ...], tuple[FileError, ...]]:
        """Return the files Airflow would read, relative to the DAG folder, and what cannot be looked at.

        Raises:
            ReaderError: There is no list.
        """
        entry = "appliance.dagfile.discovery:list_files"
        reply = await self._ask(self.zygote, entry, {}, _LISTING_S, is_asking=False)
        errors = tuple(FileError(**error) for error in reply.report["errors"])
        return tuple(reply.report["files"]), errors

    async def read(self, file: str, *, is_kept: bool) -> ParsedFile:
        """Read a file; ``is_kept``: for tries to be forked from what read it.

        Raises:
            ReaderError: It ended the process; twice, if that was killed.
        """
        try:
            return await self._read(file, is_kept=is_kept)
        except ParseKilled:
            return await self._read(file, is_kept=is_kept)

    async def _read(self, file: str, *, is_kept: bool) -> ParsedFile:
        timeout_s = self._settings.import_timeout_s
        args = {"file": file, "timeout_s": timeout_s, "is_kept": is_kept}
        entry = "appliance.dagfile.parse_child:read"
        async with self._limit:
            reply = await self._ask(self.zygote, entry, args, timeout_s)
        reasons = tuple(reply.report["reasons"])
        has_asked = reply.has_asked or reply.report["has_asked"]
        if reply.has_asked and not reasons:
            reasons = ("asks the worker",)
        if not is_kept:
            return ParsedFile(reply.report, reasons, None, has_asked)
        if not reasons:
            return ParsedFile(reply.report, (), reply.zygote, has_asked)
        reply.zygote.retire()
        stand_in = await self._stand_in(reply.report["imports"])
        return ParsedFile(reply.report, reasons, stand_in, has_asked)

    async def check(
        self, zygote: Zygote, file: str, question: dict[str, Any]
    ) -> dict[str, Any]:
        """Ask a process that has the file whether a run may start.

        Raises:
            ReaderError: It ended without an answer; twice, if it was killed.
        """
        entry = "appliance.dagfile.run_checks:check"
        args = {"file": file, **question}
        timeout_s = self._settings.import_timeout_s
        try:
            return (await self._ask(zygote, entry, args, timeout_s)).report
        except ParseKilled:
            return (await self._ask(zygote, entry, args, timeout_s)).report

    async def ask_timetables(
        self, questions: Sequence[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Have timetables say when DAGs run; ``appliance.dagfile.timetables`` says how.

        Raises:
            ReaderError: One of them, or many together, ended the process.
        """
        args = {"questions": list(questions)}
        reply = await self._ask(
            self.zygote, _TIMETABLES, args, _TIMETABLES_S, is_asking=False
        )
        answers: list[dict[str, Any]] = reply.report["answers"]
        return answers

    def file_error(self, file: str, death: ParseError) -> FileError:
        """Say of a file what became of the process that read it."""
        last = death.output.strip().splitlines()[-_LAST_LINES:]
        line = crash_line(death.output, self._root / file)
        shown = [text[:_LINE_CHARS] for text in last]
        return FileError(file, line, "\n    ".join([str(death), *shown]))

    async def _stand_in(self, modules: Sequence[str]) -> Zygote:
        """Make a zygote with these modules imported, or as many as leave it forkable."""
        for names in (modules, ()):
            reply = await self._ask(
                self.zygote,
                "appliance.dagfile.parse_child:stand_in",
                {"modules": list(names)},
                self._settings.import_timeout_s,
                is_asking=False,
            )
            if reply.report["is_forkable"]:
                return reply.zygote
            reply.zygote.close()
        raise ParseError("a process without any of its imports has threads")

    async def _ask(
        self,
        zygote: Zygote,
        entry: str,
        args: dict[str, Any],
        timeout_s: float,
        *,
        is_asking: bool = True,
    ) -> _Told:
        """Fork a child, answer its questions, and wait for its report."""
        asked: list[str] = []
        answers = self._answers()
        limit_s = timeout_s + _KILL_AFTER_S

        async def answer(kind: str, body: dict[str, Any]) -> frames.Reply:
            asked.append(kind)
            return await answers.answer(kind, body)

        with _channels() as (output, ours, theirs):
            fds = [theirs.fileno(), output.fd] if is_asking else [output.fd]
            child, made = await zygote.fork_zygote(entry, {**self._place, **args}, fds)
            theirs.close()
            try:
                async with frames.answering(ours, answer), asyncio.timeout(limit_s):
                    report = await _report(child, made, output, timeout_s)
            except TimeoutError:
                _end(child, made)
                text = answers.hide(output.text())
                why = _too_long(timeout_s)
                if entry == _TIMETABLES:
                    why = f"no answer within {timeout_s:g} s"
                raise ParseTimeout(why, text) from None
            except ParseError as death:
                _end(child, made)
                raise type(death)(str(death), answers.hide(death.output)) from None
            except BaseException:
                _end(child, made)
                raise
        for shown in _SHOWN & report.keys():
            report[shown] = answers.hide(report[shown])
        for facts in report.get("dags", {}).values():
            facts |= {name: answers.hide(facts[name]) for name in _SHOWN_OF_A_DAG}
        return _Told(report, made, any(kind != "MaskSecret" for kind in asked))


@contextmanager
def _channels() -> Iterator[tuple[ParseOutput, socket.socket, socket.socket]]:
    """Make a pipe for a child's output and a socket for its questions."""
    output = ParseOutput()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)  # noqa: FBT003 - the standard library's signature
    try:
        yield output, ours, theirs
    finally:
        output.close()
        ours.close()
        theirs.close()


async def _report(
    child: Child, made: Zygote, output: ParseOutput, timeout_s: float
) -> dict[str, Any]:
    """Return a child's report, or raise what became of it.

    Raises:
        ReaderError: It ended without one.
        ZygoteLostError: It ended with the zygote it was forked from.
    """
    try:
        return await made.ready()
    except ZygoteLostError:
        exit_ = await child.exited()
        if exit_.is_orphan:
            raise
    text = output.text()
    if _WATCHDOG in text:
        raise ParseTimeout(_too_long(timeout_s), text)
    if exit_.code == -signal.SIGKILL:
        raise ParseKilled(_KILLED, text)
    raise ParseError(_fate(exit_.code), text)


def _end(child: Child, made: Zygote) -> None:
    child.kill(signal.SIGKILL)
    made.close()


def _fate(code: int) -> str:
    """Say in words how a child ended that should have reported."""
    if code < 0:
        return f"the process reading it was killed by {signal.Signals(-code).name}"
    return f"it ended the process reading it, with exit code {code}"


def _too_long(timeout_s: float) -> str:
    return f"reading it took more than {timeout_s:g} s (dags.import_timeout)"
