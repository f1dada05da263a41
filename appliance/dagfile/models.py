"""Records about DAG files that the worker and the command line share."""

from dataclasses import dataclass, field
from typing import Any

from appliance.forkserver.control import Zygote


@dataclass(frozen=True, slots=True)
class Refusal:
    """A feature a DAG needs and the appliance does not run."""

    feature: str
    hint: str
    task_id: str | None = None
    """None: the DAG itself uses it."""


@dataclass(frozen=True, slots=True)
class DagFacts:
    """One DAG of a file, with all a run of it needs."""

    dag_id: str
    plan: dict[str, Any]
    refusals: tuple[Refusal, ...] = ()
    description: str | None = None
    schedule: str | None = None
    owners: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    assets: tuple[dict[str, Any], ...] = ()
    """Name, URI, group and extra of its inlets, outlets, and what its schedule waits for."""
    groups: dict[str, list[str]] = field(default_factory=dict)
    """Task ids by task group."""


@dataclass(frozen=True, slots=True)
class ListedDag:
    """One DAG as a list of DAGs shows it. ``file`` is relative to the DAG folder."""

    dag_id: str
    file: str
    description: str | None = None
    schedule: str | None = None
    owners: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    timing: dict[str, Any] | None = None
    """What decides when it runs (``appliance.dagfile.timetables.facts_of``); None: no clock does."""
    remark: str | None = None
    """The part of its schedule that the appliance does not follow."""
    refusal: str | None = None
    """What it needs that is not run, so that no run of it can go well."""
    params: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Name → ``default``, ``is_required``, ``description``, and what it may be: ``allowed`` in words, JSON ``schema``."""

    @property
    def is_runnable(self) -> bool:
        """Whether its id alone is enough to submit it."""
        needed = any(param["is_required"] for param in self.params.values())
        return self.refusal is None and not needed


@dataclass(frozen=True, slots=True)
class FileError:
    """Why (a part of) a file, or a folder, could not be read."""

    file: str
    """Relative to the DAG folder; absolute for that itself."""
    line: int | None
    error: str
    """The exception, below it the failing source line, below that a hint."""

    def hides(self, file: str) -> bool:
        """Whether a file that is not there may be, but for this error."""
        return (
            file == self.file
            or self.file.startswith("/")
            or file.startswith(f"{self.file}/")
        )

    def __str__(self) -> str:
        where = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{where}: {self.error}"


@dataclass(frozen=True, slots=True)
class Listing:
    """Everything in the DAG folder, DAGs by id, errors by file."""

    dags: tuple[ListedDag, ...] = ()
    errors: tuple[FileError, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenFile:
    """One version of a DAG file, read, and the process its tries are forked from."""

    file: str
    """Relative to the DAG folder."""
    path: str
    file_hash: str
    zygote: Zygote
    """Forks for a few seconds more when a newer version has taken its place."""
    dags: dict[str, DagFacts] = field(default_factory=dict)
    errors: tuple[FileError, ...] = ()
    parse_each_try: tuple[str, ...] = ()
    """Why a try must read the file itself; empty when the zygote has it read."""

    @property
    def assets(self) -> tuple[dict[str, Any], ...]:
        """What its DAGs declare, those of one DAG after another."""
        return tuple(asset for dag in self.dags.values() for asset in dag.assets)


@dataclass(frozen=True, slots=True)
class CheckedDag:
    """A DAG that may be run with the values it was checked with."""

    dag_id: str
    file: str
    file_hash: str
    plan: dict[str, Any]
    data_interval_start: str | None = None
    data_interval_end: str | None = None
