"""Index of what each file of the DAG folder contains; a file is read again when it may have changed.

A file is read again when it, one of the user's files it imported, or a file that is no DAG file
changed, and after ``max_age_s``: data files and settings decide what is in it, too. One that has
not changed and cannot be read again in time stays what it was: the machine may be busy for a while. One
that is broken and does not change is read again after a minute, then two, four, up to an hour: what it
lacked may be there by then.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from appliance.config.model import DEFAULT_POOL
from appliance.dagfile import error_messages
from appliance.dagfile.file_stamps import FolderStamps
from appliance.dagfile.models import FileError, ListedDag, Listing, Refusal
from appliance.dagfile.parse_host import ParsedFile, ParseError, ParseHost, ParseTimeout

_LOG = logging.getLogger(__name__)
_LEAST_S = 30.0
_MOST_S = 3600.0


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """What the index holds about one file."""

    dags: Mapping[str, ListedDag]
    errors: tuple[FileError, ...]
    weights: Mapping[str, int]
    """How many slots its tasks take of each pool, the largest of them."""
    sources: tuple[str, ...]
    """Absolute paths of the user's files it imported."""
    basis: str
    """Sum of everything it depends on."""
    read_at: float
    failures: int = 0
    """How often it was read in vain since it changed, unless it asked for what may be there the next time."""
    is_kept: bool = False
    """Whether it could not be read again in time: all but the error is of an earlier reading."""

    @property
    def is_broken(self) -> bool:
        """Whether nothing in it can be run."""
        return bool(self.errors) and not self.dags

    def trusted_s(self, max_age_s: float) -> float:
        """Return how long it is good for, as long as nothing changes that is watched."""
        if not self.failures:
            return max_age_s
        return min(_MOST_S, max(max_age_s, _LEAST_S) * 2.0**self.failures)


@dataclass(frozen=True, slots=True)
class _Listed:
    digest: str
    """Of the walk it belongs to."""
    files: tuple[str, ...]
    errors: tuple[FileError, ...]
    support: str
    """Sum of all files that are no DAG files."""
    names: str
    """Sum of the names of those that are."""


class FileIndex:
    """Facts about files; no process is kept for them."""

    def __init__(
        self,
        *,
        root: Path,
        readers: ParseHost,
        max_age_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._root = root
        self._readers = readers
        self._max_age_s = max_age_s
        self._clock = clock
        self._listed: _Listed | None = None
        self._entries: dict[str, IndexEntry] = {}
        self._learning: dict[tuple[str, str], asyncio.Task[IndexEntry]] = {}

    async def files(self, now: FolderStamps) -> tuple[str, ...]:
        """Return the files Airflow would read, relative to the DAG folder; those of before if there is no new list."""
        if self._listed is None or self._listed.digest != now.digest:
            self._listed = await self._list(now)
        return self._listed.files

    async def _list(self, now: FolderStamps) -> _Listed:
        try:
            files, errors = await self._readers.list_files()
        except ParseError as death:
            error = self._readers.file_error(str(self._root), death)
            files = self._listed.files if self._listed else ()
            return _Listed("", files, (error,), now.digest, now.digest)
        support = now.stamps.keys() - {str(self._root / file) for file in files}
        listed = frozenset(files)
        self._entries = {f: k for f, k in self._entries.items() if f in listed}
        names = hashlib.sha256(repr(files).encode()).hexdigest()
        return _Listed(now.digest, files, errors, now.digest_of(support), names)

    @property
    def errors(self) -> tuple[FileError, ...]:
        """What of the folder could not be looked at when it was listed last."""
        return self._listed.errors if self._listed else ()

    def likely(self, dag_id: str, files: Iterable[str], now: FolderStamps) -> list[str]:
        """Return the files that have this id, or may have it by their text."""
        needle = dag_id.encode()
        return [file for file in files if self._may_have(file, dag_id, needle, now)]

    def _may_have(
        self, file: str, dag_id: str, needle: bytes, now: FolderStamps
    ) -> bool:
        entry = self._entries.get(file)
        if entry and dag_id in entry.dags:
            return True
        if entry and not entry.errors and self._is_current(file, entry, now):
            return False
        return _mentions(self._root / file, needle)

    def _is_current(self, file: str, entry: IndexEntry, now: FolderStamps) -> bool:
        basis = self._basis(file, entry.sources, now, is_broken=entry.is_broken)
        return entry.basis == basis

    async def refresh(
        self, files: Iterable[str], now: FolderStamps, *, only_broken: bool
    ) -> None:
        """Read those again, one by one, that are due for their age."""
        for file in files:
            entry = self._entries.get(file)
            if entry and (entry.is_broken or not only_broken):
                await self._entry(file, now, None)

    def weights(self) -> dict[str, int]:
        """Return how many slots tasks take of each pool, as far as files were read."""
        found: dict[str, int] = {}
        for entry in self._entries.values():
            for pool, slots in entry.weights.items():
                found[pool] = max(slots, found.get(pool, 0))
        return found

    async def entries(
        self, files: Iterable[str], now: FolderStamps, max_age_s: float | None = None
    ) -> dict[str, IndexEntry]:
        """Return the entry of each file; files that may have changed are read first.

        Args:
            files: Relative to the DAG folder.
            now: The folders as they are.
            max_age_s: How long each is trusted that has not changed; None: as long as it is
                by what it was the last time.
        """
        names = list(files)
        found = await asyncio.gather(
            *(self._entry(file, now, max_age_s) for file in names)
        )
        return dict(zip(names, found, strict=True))

    def remember(self, file: str, reading: ParsedFile, now: FolderStamps) -> IndexEntry:
        """Store the result of a parse, and return the new entry."""
        report = reading.report
        sources = tuple(report["sources"])
        dags = {
            dag_id: ListedDag(
                dag_id,
                file,
                facts["description"],
                facts["schedule"],
                tuple(facts["owners"]),
                tuple(facts["tags"]),
                facts["timing"],
                facts["remark"],
                _refusal(file, dag_id, facts["refusals"]),
                facts["params"],
            )
            for dag_id, facts in report["dags"].items()
        }
        errors = tuple(FileError(**error) for error in report["errors"])
        if reading.is_late and (before := self._unchanged(file, now)):
            return self._keep_on(file, before, errors)
        weights = heaviest(facts["plan"] for facts in report["dags"].values())
        entry = self._keep(file, dags, errors, sources, now, weights)
        if reading.has_asked and entry.failures:
            entry = self._entries[file] = replace(entry, failures=0)
        return entry

    def remember_death(
        self, file: str, death: ParseError, now: FolderStamps
    ) -> IndexEntry:
        """Keep that reading it ended the process."""
        errors = (self._readers.file_error(file, death),)
        if isinstance(death, ParseTimeout) and (before := self._unchanged(file, now)):
            return self._keep_on(file, before, errors)
        return self._keep(file, {}, errors, (), now)

    def _unchanged(self, file: str, now: FolderStamps) -> IndexEntry | None:
        """Return the entry of a file that has DAGs, unless something it depends on has changed."""
        entry = self._entries.get(file)
        if entry is None or not entry.dags:
            return None
        return entry if self._is_current(file, entry, now) else None

    def _keep_on(
        self, file: str, before: IndexEntry, errors: tuple[FileError, ...]
    ) -> IndexEntry:
        _LOG.warning(
            "%s cannot be read again in time; it goes on as it was read before, as nothing has changed",
            file,
        )
        entry = self._entries[file] = replace(
            before, errors=errors, read_at=self._clock(), is_kept=True
        )
        return entry

    def _keep(
        self,
        file: str,
        dags: Mapping[str, ListedDag],
        errors: tuple[FileError, ...],
        sources: tuple[str, ...],
        now: FolderStamps,
        weights: Mapping[str, int] | None = None,
    ) -> IndexEntry:
        is_broken = bool(errors) and not dags
        basis = self._basis(file, sources, now, is_broken=is_broken)
        before = self._entries.get(file)
        failures = before.failures if before and before.basis == basis else 0
        entry = self._entries[file] = IndexEntry(
            dags,
            errors,
            weights or {},
            sources,
            basis,
            self._clock(),
            failures + 1 if is_broken else 0,
        )
        return entry

    def _basis(
        self, file: str, sources: Iterable[str], now: FolderStamps, *, is_broken: bool
    ) -> str:
        """Sum up what decides what is in a file; of an unlisted walk, everything does.

        What a broken file lacks may be a module that is a DAG file, too, and was not there.
        """
        is_listed = self._listed is not None and self._listed.digest == now.digest
        support = self._listed.support if self._listed and is_listed else now.digest
        names = self._listed.names if self._listed and is_broken else ""
        return support + names + now.digest_of([str(self._root / file), *sources])

    async def _entry(
        self, file: str, now: FolderStamps, max_age_s: float | None
    ) -> IndexEntry:
        entry = self._entries.get(file)
        if entry is not None and self._is_current(file, entry, now):
            own_s = entry.trusted_s(self._max_age_s)
            limit_s = own_s if max_age_s is None else max_age_s
            if self._clock() - entry.read_at < limit_s:
                return entry
        return await self._once((file, now.digest), self._read(file, now))

    async def _read(self, file: str, now: FolderStamps) -> IndexEntry:
        try:
            reading = await self._readers.read(file, is_kept=False)
        except ParseError as death:
            return self.remember_death(file, death, now)
        return self.remember(file, reading, now)

    async def _once(
        self, key: tuple[str, str], learning: Coroutine[Any, Any, IndexEntry]
    ) -> IndexEntry:
        """Share one parse among all callers that want the same version of a file."""
        task = self._learning.get(key)
        if task is None:
            task = self._learning[key] = asyncio.create_task(learning)
            task.add_done_callback(lambda _: self._learning.pop(key, None))
        else:
            learning.close()
        return await asyncio.shield(task)


def combined(entries: Mapping[str, IndexEntry]) -> Listing:
    """Return the DAGs of some files, each id once, and the errors, ids in several files among them."""
    holders: dict[str, list[ListedDag]] = {}
    for _, entry in sorted(entries.items()):
        for dag_id, dag in entry.dags.items():
            holders.setdefault(dag_id, []).append(dag)
    errors = [error for entry in entries.values() for error in entry.errors]
    for dags in holders.values():
        errors += [error_messages.duplicate(dag, dags) for dag in dags[1:]]
    return Listing(
        tuple(holders[dag_id][0] for dag_id in sorted(holders)), tuple(errors)
    )


def _refusal(
    file: str, dag_id: str, refusals: Iterable[Mapping[str, Any]]
) -> str | None:
    found = [Refusal(**refusal) for refusal in refusals]
    return str(error_messages.features(file, dag_id, found)) if found else None


def heaviest(plans: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many slots the tasks of some DAGs take of each pool, the largest of them."""
    found: dict[str, int] = {}
    for plan in plans:
        for row in plan["tasks"].values():
            pool, slots = row.get("pool", DEFAULT_POOL), row.get("slots", 1)
            found[pool] = max(slots, found.get(pool, 0))
    return found


def _mentions(path: Path, needle: bytes) -> bool:
    try:
        return path.suffix != ".py" or needle in path.read_bytes()
    except OSError:
        return False  # It vanished since it was listed.
