"""The DAG folder: DAGs by id, their files kept read, as of now.

The worker's side; everything that runs a line of the user's runs in a child
(``appliance.dagfile.readers``). The processes that have a file read are replaced as soon as
anything in the folders has changed, and after ``max_age_s``.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.config.model import DagSettings
from appliance.dagfile import inside, refused
from appliance.dagfile.facts import (
    CheckedDag,
    DagFacts,
    ListedDag,
    Listing,
    OpenFile,
    Refusal,
)
from appliance.dagfile.index import Index
from appliance.dagfile.readers import Answers, ReaderError, Readers
from appliance.dagfile.walk import Walk, walk
from appliance.dagrun.conf import objection
from appliance.errors import DagError
from appliance.warm.control import Zygote

_FRESH_S = 0.5
"""How old a look at the folder may be when a try opens a file."""
_MOST_OPEN = 16
_RETIRE_AFTER_S = 5.0
"""Who was given an ``OpenFile`` has this long to fork from it once it has been replaced."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A file held open, or on its way there."""

    digest: str
    opened_at: float
    opening: "asyncio.Task[OpenFile]"

    def opened(self, digest: str) -> OpenFile | None:
        """Return what can still be forked from, if it is of this version of the folders."""
        if self.digest != digest or not (self.opening.done() and self.is_usable):
            return None
        return self.opening.result()

    @property
    def is_usable(self) -> bool:
        """Whether it is being opened, or was and can still be forked from."""
        if not self.opening.done():
            return True
        if self.opening.cancelled() or self.opening.exception() is not None:
            return False
        return not self.opening.result().zygote.closed.done()


class _Late(DagError):
    """A file has not changed, and could not be read again in time."""


class DagFolder:
    """Finds DAGs, checks runs of them, and opens their files for tries.

    Belongs to the event loop of its zygote. ``close`` it to end its processes.
    """

    def __init__(
        self,
        *,
        root: Path,
        zygote: Zygote,
        settings: DagSettings,
        answers: Callable[[], Answers],
        clock: Callable[[], float],
    ) -> None:
        """Make the folder; nothing is read yet.

        Args:
            root: The DAG folder.
            zygote: The base zygote; best started with ``PRELOAD``.
            settings: How long what was read is trusted, and how long reading may take.
            answers: Gives who answers what a file asks while it is read, for each reading.
            clock: Monotonic seconds.
        """
        self._root = root.absolute()
        self._settings = settings
        self._clock = clock
        self._readers = Readers(
            root=self._root, zygote=zygote, settings=settings, answers=answers
        )
        self._index = Index(
            root=self._root,
            readers=self._readers,
            max_age_s=settings.max_age_s,
            clock=clock,
        )
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._walk: Walk | None = None

    def replace_zygote(self, zygote: Zygote) -> None:
        """Fork from this base zygote from now on; what came from the old one is dropped."""
        self._readers.zygote = zygote
        self.close()

    def close(self) -> None:
        """End every process that has a file read, and its tries."""
        for kept in self._kept.values():
            kept.opening.add_done_callback(_close)
        self._kept.clear()

    async def open(self, file: str) -> OpenFile:
        """Open a file for a try, as it was half a second ago at most.

        Raises:
            DagError: It is gone, or nothing can be forked from what reads it.
        """
        return await self._open(file, await self._look(_FRESH_S))

    async def listing(self, max_age_s: float | None = None) -> Listing:
        """Read whatever changed and return all DAGs and all errors.

        Args:
            max_age_s: How long a file is trusted of which nothing has changed, when that
                is not ``dags.max_age``.
        """
        now = await self._look(0)
        files = await self._index.files(now)
        known = await self._index.know_all(files, now, max_age_s)
        dags: dict[str, ListedDag] = {}
        errors = [error for item in known.values() for error in item.errors]
        for file, item in sorted(known.items()):
            for dag_id, dag in item.dags.items():
                first = dags.setdefault(dag_id, dag)
                if first is not dag:
                    errors.append(refused.duplicate(dag_id, file, first.file))
        return Listing(
            tuple(dags[dag_id] for dag_id in sorted(dags)),
            tuple(sorted(errors, key=lambda error: (error.file, error.line or 0))),
        )

    def weights(self) -> dict[str, int]:
        """Return how many slots tasks take of each pool, as far as files were read."""
        return self._index.weights()

    async def version(self) -> str:
        """Return a text that is another one as soon as any file has changed."""
        return (await self._look(0)).digest

    async def ask_timetables(
        self, questions: Sequence[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Have Airflow's timetables say when DAGs run.

        Raises:
            DagError: There is no answer to any of the questions.
        """
        try:
            return await self._readers.ask_timetables(questions)
        except ReaderError as death:
            error = self._readers.file_error("timetables", death)
            raise DagError(str(error)) from death

    async def check(
        self,
        *,
        dag_id: str,
        dag_file: str | None = None,
        conf: Mapping[str, Any] | None = None,
        run_id: str | None = None,
        logical_date: str | None = None,
        run_type: str = "manual",
        run_after: str | None = None,
    ) -> CheckedDag:
        """Find a DAG as it is now and check that it can be run with these values.

        Args:
            dag_id: Its id.
            dag_file: Read it from this file alone; relative to the DAG folder, or absolute.
            conf: What overrides its params.
            run_id: Checked by Airflow's rules when given.
            logical_date: ISO 8601; gives the data interval, by the DAG's own timetable.
            run_type: Airflow's word for how the run came to be.
            run_after: When it is due, ISO 8601; gives the data interval of a run that a task starts.

        Raises:
            DagError: It cannot; the text says all a person needs.
        """
        if (why := objection(conf or {})) is not None:
            raise DagError(f"its conf cannot be passed on: {why}")
        now = await self._look(0)
        if dag_file is None:
            file = await self._find(dag_id, now)
        else:
            file = refused.relative(dag_file, self._root)
        opened = await self._open(file, now)
        facts = opened.dags.get(dag_id)
        if facts is None:
            raise refused.not_in_file(dag_id, opened)
        if facts.refusals:
            raise refused.features(file, dag_id, facts.refusals)
        question = {
            "dag_id": dag_id,
            "conf": dict(conf or {}),
            "run_id": run_id,
            "logical_date": logical_date,
            "run_type": run_type,
            "run_after": run_after,
        }
        start, end = await self._interval(opened, question)
        return CheckedDag(dag_id, file, opened.file_hash, facts.plan, start, end)

    async def facts(self, dag_id: str) -> DagFacts:
        """Return what is known of a DAG as it is now.

        Raises:
            DagError: There is none.
        """
        now = await self._look(0)
        opened = await self._open(await self._find(dag_id, now), now)
        if dag_id not in opened.dags:
            raise refused.not_in_file(dag_id, opened)
        return opened.dags[dag_id]

    async def _interval(
        self, opened: OpenFile, question: dict[str, Any]
    ) -> tuple[str | None, str | None]:
        try:
            told = await self._readers.check(opened.zygote, opened.file, question)
        except ReaderError as death:
            error = self._readers.file_error(opened.file, death)
            raise DagError(str(error)) from death
        if "error" in told:
            dag_id = question["dag_id"]
            raise DagError(
                f'{opened.file}: DAG "{dag_id}" cannot be run: {told["error"]}'
            )
        start, end = told["data_interval"] or (None, None)
        return start, end

    # --- finding a DAG by its id

    async def _find(self, dag_id: str, now: Walk) -> str:
        files = await self._index.files(now)
        likely = await asyncio.to_thread(self._index.likely, dag_id, files)
        if len(likely) == 1:  # the usual case: what reads it now is what runs it
            await self._open_quietly(likely[0], now)
        known = await self._index.know_all(likely, now)
        holders = [file for file, item in known.items() if dag_id in item.dags]
        if not holders:
            known = await self._index.know_all(files, now)
            holders = [file for file, item in known.items() if dag_id in item.dags]
        if len(holders) > 1:
            raise refused.ambiguous(dag_id, sorted(holders))
        if holders:
            return holders[0]
        broken = [error for file in likely for error in known[file].errors]
        if broken:
            raise DagError("\n".join(map(str, broken)))
        ids = [other for item in known.values() for other in item.dags]
        errors = [error for item in known.values() for error in item.errors]
        raise refused.unknown(dag_id, ids, errors, self._root)

    async def _open_quietly(self, file: str, now: Walk) -> None:
        try:
            await self._open(file, now)
        except DagError:
            return  # What is known of the file says it, beside what else is wrong.

    # --- what is known of files

    async def _look(self, max_age_s: float) -> Walk:
        now = self._clock()
        if self._walk is None or now - self._walk.taken_at >= max_age_s:
            folders = (
                self._root,
                self._settings.plugins_folder.absolute(),
                self._root.parent / "include",
            )
            self._walk = await asyncio.to_thread(walk, folders, now)
        return self._walk

    # --- files held open

    async def _open(self, file: str, now: Walk) -> OpenFile:
        kept = self._kept.get(file)
        if (
            kept is None
            or kept.digest != now.digest
            or self._clock() - kept.opened_at >= self._settings.max_age_s
            or not kept.is_usable
        ):
            if kept is not None and (before := kept.opened(now.digest)) is not None:
                start = self._renew(before, now)
            else:
                self._drop(file)
                start = self._start(file, now)
            opening = asyncio.create_task(start)
            opening.add_done_callback(_notice)
            kept = self._kept[file] = _Kept(now.digest, self._clock(), opening)
        self._kept.move_to_end(file)
        while len(self._kept) > _MOST_OPEN:
            self._drop(next(iter(self._kept)))
        return await asyncio.shield(kept.opening)

    async def _renew(self, before: OpenFile, now: Walk) -> OpenFile:
        """Read a file again of which nothing has changed; when that takes too long, the one there is goes on."""
        try:
            opened = await self._start(before.file, now)
        except _Late:
            if not before.zygote.closed.done():
                return before
            raise
        except DagError:
            _retire_soon(before.zygote)
            raise
        _retire_soon(before.zygote)
        return opened

    async def _start(self, file: str, now: Walk) -> OpenFile:
        await inside.require(file, self._root, lambda: self._index.files(now))
        path = self._root / file
        if not path.is_file():
            raise DagError(
                f"{file}: there is no such file in the DAG folder {self._root}"
            )
        try:
            reading = await self._readers.read(file, is_kept=True)
        except ReaderError as death:
            known = self._index.remember_death(file, death, now)
            kind = _Late if known.is_kept else DagError
            raise kind("\n".join(map(str, known.errors))) from death
        known = self._index.remember(file, reading, now)
        if reading.zygote is None:
            raise AssertionError("a kept reading has a zygote")
        if known.is_kept:
            reading.zygote.retire()
            raise _Late("\n".join(map(str, known.errors)))
        return OpenFile(
            file=file,
            path=str(path),
            file_hash=reading.report["hash"],
            zygote=reading.zygote,
            dags={d: _facts(d, raw) for d, raw in reading.report["dags"].items()},
            errors=known.errors,
            parse_each_try=reading.reasons,
        )

    def _drop(self, file: str) -> None:
        """Retire what has a file read, once nobody can be about to fork from it."""
        kept = self._kept.pop(file, None)
        if kept is not None:
            kept.opening.add_done_callback(_retire)


def _notice(opening: "asyncio.Task[OpenFile]") -> None:
    """Keep asyncio from complaining of an error whose every reader was cancelled."""
    if not opening.cancelled():
        opening.exception()


def _retire(opening: "asyncio.Task[OpenFile]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        _retire_soon(opening.result().zygote)


def _retire_soon(zygote: Zygote) -> None:
    asyncio.get_running_loop().call_later(_RETIRE_AFTER_S, zygote.retire)


def _close(opening: "asyncio.Task[OpenFile]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().zygote.close()


def _facts(dag_id: str, raw: Mapping[str, Any]) -> DagFacts:
    return DagFacts(
        dag_id=dag_id,
        plan=raw["plan"],
        refusals=tuple(Refusal(**refusal) for refusal in raw["refusals"]),
        description=raw["description"],
        schedule=raw["schedule"],
        owners=tuple(raw["owners"]),
        tags=tuple(raw["tags"]),
        assets=tuple(raw["assets"]),
        groups=raw["groups"],
    )
