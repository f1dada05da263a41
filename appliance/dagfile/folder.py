"""The DAG folder: DAGs by id, each with its file read and up to date. Worker side.

Everything that runs a line of the user's code runs in a child
(``appliance.dagfile.parse_host``). The processes that have a file read are replaced as soon as
anything in the folders has changed, and after ``max_age_s``. While the folder is not there, or does not
answer, all stays what it was: tries go on, no DAG is lost.
"""

import asyncio
import math
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from appliance.config.machine_limits import machine
from appliance.config.model import DagSettings
from appliance.dagfile import containment, error_messages
from appliance.dagfile.containment import relative
from appliance.dagfile.dag_zygotes import DagZygotes, LateError, most_held
from appliance.dagfile.file_stamps import FolderStamps, walk
from appliance.dagfile.folder_scan import FolderScan, in_time
from appliance.dagfile.index import FileIndex, IndexEntry, combined
from appliance.dagfile.models import (
    CheckedDag,
    DagFacts,
    FileError,
    Listing,
    OpenFile,
    Refusal,
)
from appliance.dagfile.parse_host import Answers, ParseError, ParseHost
from appliance.dagrun.run_conf import objection
from appliance.errors import DagError
from appliance.forkserver.control import ForkError, Zygote, ZygoteLostError

_FRESH_S = 0.5
"""How old a look at the folder may be when a try opens a file."""


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
        self._readers = ParseHost(
            root=self._root, zygote=zygote, settings=settings, answers=answers
        )
        self._index = FileIndex(
            root=self._root,
            readers=self._readers,
            max_age_s=settings.max_age_s,
            clock=clock,
        )
        self._held = DagZygotes(
            max_age_s=settings.max_age_s,
            most=most_held(machine()),
            clock=clock,
        )
        folders = (
            self._root,
            settings.plugins_folder.absolute(),
            self._root.parent / "include",
        )
        # A package installed there may be what a file lacks.
        packages = Path(sysconfig.get_path("purelib"))
        self._lookout = FolderScan(
            lambda now: walk(folders, now, packages), clock=clock
        )
        self._refreshing: asyncio.Task[None] | None = None

    def replace_zygote(self, zygote: Zygote) -> None:
        """Fork from this base zygote from now on; what came from the old one is dropped."""
        self._readers.zygote = zygote
        self.close()

    def close(self) -> None:
        """End every process that has a file read, and its tries."""
        if self._refreshing is not None:
            self._refreshing.cancel()
        self._held.close()

    async def open(self, file: str) -> OpenFile:
        """Open a file for a try, as it was half a second ago at most.

        Raises:
            DagError: It is gone, or nothing can be forked from what reads it.
        """
        return await self._open(file, await self._look(_FRESH_S))

    async def listing(self, *, is_for_people: bool = True) -> Listing:
        """Return all DAGs and all errors; files that have changed are read again.

        What is to be read again for its age is read afterwards: for people all, else broken files alone.
        """
        now = await self._lookout.look(0)
        if now is None:
            return Listing((), self._troubles())
        files = await self._index.files(now)
        entries = await self._index.entries(files, now, math.inf)
        self._refresh(files, now, only_broken=not is_for_people)
        found = combined(entries)
        errors = (*found.errors, *self._index.errors, *self._troubles())
        return Listing(
            found.dags,
            tuple(sorted(errors, key=lambda error: (error.file, error.line or 0))),
        )

    def _troubles(self) -> tuple[FileError, ...]:
        why = self._lookout.trouble
        return () if why is None else (FileError(str(self._root), None, why),)

    def _refresh(
        self, files: Sequence[str], now: FolderStamps, *, only_broken: bool
    ) -> None:
        """Read files again that have reached ``max_age_s``, while no caller waits for them."""
        if self._lookout.trouble or (self._refreshing and not self._refreshing.done()):
            return

        async def read_again() -> None:
            with suppress(ForkError, ZygoteLostError):  # Others start another.
                await self._index.refresh(files, now, only_broken=only_broken)

        self._refreshing = asyncio.create_task(read_again())

    def weights(self) -> dict[str, int]:
        """Return how many slots tasks take of each pool, as far as files were read."""
        return self._index.weights()

    async def version(self) -> str:
        """Return a text that is another one as soon as any file has changed."""
        now = await self._lookout.look(0)
        self._held.tidy()
        return f"{now.digest if now else ''} {self._lookout.trouble or ''}"

    async def ask_timetables(
        self, questions: Sequence[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Have Airflow's timetables say when DAGs run.

        Raises:
            DagError: There is no answer to any of the questions.
        """
        try:
            return await self._readers.ask_timetables(questions)
        except ParseError as death:
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
            dag_id: Its id; empty with ``dag_file``: the file has no other.
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
        now = await self._look_at_all()
        if dag_file is None:
            file = await self._find(dag_id, now)
        else:
            named = dag_file
            file = await in_time(lambda: relative(named, self._root))
        opened = await self._open(file, now)
        dag_id = dag_id or error_messages.only_in(opened)
        facts = opened.dags.get(dag_id)
        if facts is None:
            raise error_messages.not_in_file(dag_id, opened)
        if facts.refusals:
            raise error_messages.features(file, dag_id, facts.refusals)
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
        """Return the facts about a DAG as its file is now.

        Raises:
            DagError: There is none.
        """
        now = await self._look_at_all()
        opened = await self._open(await self._find(dag_id, now), now)
        if dag_id not in opened.dags:
            raise error_messages.not_in_file(dag_id, opened)
        return opened.dags[dag_id]

    async def _interval(
        self, opened: OpenFile, question: dict[str, Any]
    ) -> tuple[str | None, str | None]:
        try:
            answer = await self._readers.check(opened.zygote, opened.file, question)
        except ParseError as death:
            error = self._readers.file_error(opened.file, death)
            raise DagError(str(error)) from death
        if "error" in answer:
            dag_id = question["dag_id"]
            raise DagError(
                f'{opened.file}: DAG "{dag_id}" cannot be run: {answer["error"]}'
            )
        start, end = answer["data_interval"] or (None, None)
        return start, end

    # --- finding a DAG by its id

    async def _find(self, dag_id: str, now: FolderStamps) -> str:
        files = await self._index.files(now)
        likely = await in_time(lambda: self._index.likely(dag_id, files, now))
        if len(likely) == 1:  # the usual case: what reads it now is what runs it
            await self._open_quietly(likely[0], now)
        max_age_s = self._settings.max_age_s
        entries = await self._index.entries(likely, now, max_age_s)
        holders = [file for file, entry in entries.items() if dag_id in entry.dags]
        if not holders:
            entries = await self._index.entries(files, now)
            holders = [file for file, entry in entries.items() if dag_id in entry.dags]
        if len(holders) > 1:
            raise error_messages.ambiguous(dag_id, sorted(holders))
        if holders:
            return holders[0]
        broken = [error for file in likely for error in entries[file].errors]
        if broken:
            raise DagError("\n".join(map(str, broken)))
        ids = [other for entry in entries.values() for other in entry.dags]
        errors = [error for entry in entries.values() for error in entry.errors]
        errors += self._index.errors
        raise error_messages.unknown(dag_id, ids, errors, self._root)

    async def _open_quietly(self, file: str, now: FolderStamps) -> None:
        try:
            await self._open(file, now)
        except DagError:
            return  # What is known of the file says it, beside what else is wrong.

    # --- the folders as they are

    async def _look(self, max_age_s: float) -> FolderStamps:
        """Return how the folders are, or were when they were to be seen last.

        Raises:
            DagError: They were not yet.
        """
        now = await self._lookout.look(max_age_s)
        if now is None:
            raise self._unseen()
        return now

    async def _look_at_all(self) -> FolderStamps:
        """Return how the folders are now.

        Raises:
            DagError: That cannot be seen.
        """
        now = await self._lookout.look(0)
        if now is None or self._lookout.trouble is not None:
            raise self._unseen()
        return now

    def _unseen(self) -> DagError:
        return DagError(f"{self._root}: {self._lookout.trouble}")

    # --- files held open

    async def _open(self, file: str, now: FolderStamps) -> OpenFile:
        return await self._held.open(file, now.digest, lambda: self._start(file, now))

    async def _start(self, file: str, now: FolderStamps) -> OpenFile:
        if self._lookout.trouble is not None:
            raise LateError(str(self._unseen()))
        await containment.require(file, self._root, lambda: self._index.files(now))
        path = self._root / file
        if not await in_time(path.is_file):
            raise DagError(
                f"{file}: there is no such file in the DAG folder {self._root}"
            )
        try:
            reading = await self._readers.read(file, is_kept=True)
        except ParseError as death:
            entry = self._index.remember_death(file, death, now)
            raise _error_of(entry) from death
        entry = self._index.remember(file, reading, now)
        if reading.zygote is None:
            raise AssertionError("a kept reading has a zygote")
        if entry.is_kept:
            reading.zygote.retire()
            raise _error_of(entry)
        return OpenFile(
            file=file,
            path=str(path),
            file_hash=reading.report["hash"],
            zygote=reading.zygote,
            dags={d: _facts(d, raw) for d, raw in reading.report["dags"].items()},
            errors=entry.errors,
            parse_each_try=reading.reasons,
        )


def _error_of(entry: IndexEntry) -> DagError:
    kind = LateError if entry.is_kept else DagError
    return kind("\n".join(map(str, entry.errors)))


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
