"""What is known of each file of the DAG folder, learnt again when it may have changed.

A file is read again when it, one of the user's files it imported, or a file that is no DAG file
changed, and after ``max_age_s``: data files and settings decide what is in it, too. One that has
not changed and cannot be read again in time stays what it was: a box may be busy for a while.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from appliance.config.model import DEFAULT_POOL
from appliance.dagfile import refused
from appliance.dagfile.facts import FileError, ListedDag, Refusal
from appliance.dagfile.readers import ReaderError, ReaderLate, Readers, Reading
from appliance.dagfile.walk import Walk
from appliance.errors import DagError

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Known:
    """What is remembered of a file that was read."""

    dags: Mapping[str, ListedDag]
    errors: tuple[FileError, ...]
    weights: Mapping[str, int]
    """How many slots its tasks take of each pool, the largest of them."""
    sources: tuple[str, ...]
    """Absolute paths of the user's files it imported."""
    basis: str
    """Sum of everything it depends on."""
    read_at: float
    is_kept: bool = False
    """Whether it could not be read again in time: all but the error is of an earlier reading."""


@dataclass(frozen=True, slots=True)
class _Listed:
    digest: str
    """Of the walk it belongs to."""
    files: tuple[str, ...]
    support: str
    """Sum of all files that are no DAG files."""


class Index:
    """Facts about files; no process is kept for them."""

    def __init__(
        self,
        *,
        root: Path,
        readers: Readers,
        max_age_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._root = root
        self._readers = readers
        self._max_age_s = max_age_s
        self._clock = clock
        self._listed: _Listed | None = None
        self._known: dict[str, Known] = {}
        self._learning: dict[tuple[str, str], asyncio.Task[Known]] = {}

    async def files(self, now: Walk) -> tuple[str, ...]:
        """Return the files Airflow would read, relative to the DAG folder.

        Raises:
            DagError: Airflow itself cannot list them.
        """
        if self._listed is None or self._listed.digest != now.digest:
            try:
                files = await self._readers.list_files()
            except ReaderError as death:
                error = self._readers.file_error(str(self._root), death)
                raise DagError(str(error)) from death
            support = now.stamps.keys() - {str(self._root / file) for file in files}
            self._listed = _Listed(now.digest, files, now.digest_of(support))
            listed = frozenset(files)
            self._known = {f: k for f, k in self._known.items() if f in listed}
        return self._listed.files

    def likely(self, dag_id: str, files: Iterable[str]) -> list[str]:
        """Return the files that had this id, or have it somewhere in their text."""
        needle = dag_id.encode()
        return [
            file
            for file in files
            if ((known := self._known.get(file)) and dag_id in known.dags)
            or _mentions(self._root / file, needle)
        ]

    def weights(self) -> dict[str, int]:
        """Return how many slots tasks take of each pool, as far as files were read."""
        found: dict[str, int] = {}
        for known in self._known.values():
            for pool, slots in known.weights.items():
                found[pool] = max(slots, found.get(pool, 0))
        return found

    async def know_all(
        self, files: Iterable[str], now: Walk, max_age_s: float | None = None
    ) -> dict[str, Known]:
        """Return what is known of each, reading those that may have changed."""
        names = list(files)
        limit_s = self._max_age_s if max_age_s is None else max_age_s
        found = await asyncio.gather(
            *(self._know(file, now, limit_s) for file in names)
        )
        return dict(zip(names, found, strict=True))

    def remember(self, file: str, reading: Reading, now: Walk) -> Known:
        """Keep what was just read."""
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
        return self._keep(file, dags, errors, sources, now, weights)

    def remember_death(self, file: str, death: ReaderError, now: Walk) -> Known:
        """Keep that reading it ended the process."""
        errors = (self._readers.file_error(file, death),)
        if isinstance(death, ReaderLate) and (before := self._unchanged(file, now)):
            return self._keep_on(file, before, errors)
        return self._keep(file, {}, errors, (), now)

    def _unchanged(self, file: str, now: Walk) -> Known | None:
        """Return what is known of a file that has DAGs, if nothing it depends on has changed."""
        known = self._known.get(file)
        if known is None or not known.dags:
            return None
        return known if known.basis == self._basis(file, known.sources, now) else None

    def _keep_on(
        self, file: str, before: Known, errors: tuple[FileError, ...]
    ) -> Known:
        _LOG.warning(
            "%s cannot be read again in time; it goes on as it was read before, as nothing has changed",
            file,
        )
        known = self._known[file] = replace(
            before, errors=errors, read_at=self._clock(), is_kept=True
        )
        return known

    def _keep(
        self,
        file: str,
        dags: Mapping[str, ListedDag],
        errors: tuple[FileError, ...],
        sources: tuple[str, ...],
        now: Walk,
        weights: Mapping[str, int] | None = None,
    ) -> Known:
        basis = self._basis(file, sources, now)
        known = self._known[file] = Known(
            dags, errors, weights or {}, sources, basis, self._clock()
        )
        return known

    def _basis(self, file: str, sources: Iterable[str], now: Walk) -> str:
        """Sum up what decides what is in a file; of an unlisted walk, everything does."""
        is_listed = self._listed is not None and self._listed.digest == now.digest
        support = self._listed.support if self._listed and is_listed else now.digest
        return support + now.digest_of([str(self._root / file), *sources])

    async def _know(self, file: str, now: Walk, max_age_s: float) -> Known:
        known = self._known.get(file)
        if (
            known is not None
            and self._clock() - known.read_at < max_age_s
            and known.basis == self._basis(file, known.sources, now)
        ):
            return known
        return await self._once((file, now.digest), self._learn(file, now))

    async def _learn(self, file: str, now: Walk) -> Known:
        try:
            reading = await self._readers.read(file, is_kept=False)
        except ReaderError as death:
            return self.remember_death(file, death, now)
        return self.remember(file, reading, now)

    async def _once(
        self, key: tuple[str, str], learning: Coroutine[Any, Any, Known]
    ) -> Known:
        """Share one reading among all who want the same version of a file."""
        task = self._learning.get(key)
        if task is None:
            task = self._learning[key] = asyncio.create_task(learning)
            task.add_done_callback(lambda _: self._learning.pop(key, None))
        else:
            learning.close()
        return await asyncio.shield(task)


def _refusal(file: str, dag_id: str, told: Iterable[Mapping[str, Any]]) -> str | None:
    found = [Refusal(**refusal) for refusal in told]
    return str(refused.features(file, dag_id, found)) if found else None


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
