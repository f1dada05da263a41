"""The configuration that all other code uses: frozen, complete, checked, with all defaults."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Role = Literal["all", "server", "worker"]
ScheduleMode = Literal["paused", "active", "ignore"]
OnLost = Literal["retry", "fail"]


@dataclass(frozen=True, slots=True)
class Connection:
    """One Airflow connection. ``extra`` is JSON text, as Airflow stores it."""

    conn_id: str
    conn_type: str | None = None
    host: str | None = None
    schema: str | None = None
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    port: int | None = None
    extra: str | None = field(default=None, repr=False)
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Secrets:
    """Connections by id and variables by key; a variable is text, as Airflow stores it."""

    connections: dict[str, Connection] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class TemporalSettings:
    """Where the Temporal server is. ``address`` None: the bundled one."""

    address: str | None = None
    namespace: str = "default"
    task_queue: str = "airflow-tasks"
    ip: str = "127.0.0.1"
    """What the bundled server's API binds to."""
    port: int = 7233
    ui_ip: str = "127.0.0.1"
    ui_port: int = 8233
    ui_hosts: str = ""
    """Names people reach the UI by, besides localhost and addresses; with commas between them."""
    metrics_port: int = 9233
    retention_s: float = 30 * 86400.0


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How this appliance runs tries."""

    parallelism: int = 4
    grace_s: float = 5.0
    """Seconds running tries get to end after SIGTERM before they are killed."""
    on_lost: OnLost = "retry"
    max_lost: int = 3


@dataclass(frozen=True, slots=True)
class DagSettings:
    """Where DAG files are and how long a parse is trusted."""

    folder: Path = Path("dags")
    plugins_folder: Path = Path("plugins")
    max_age_s: float = 30.0
    import_timeout_s: float = 30.0
    schedules: ScheduleMode = "paused"
    """Whether the schedule of a DAG that was never paused or resumed is active."""


@dataclass(frozen=True, slots=True)
class ScheduleSettings:
    """Runs of a DAG by the clock, whatever its file says."""

    name: str
    dag_id: str
    cron: str | None = None
    every_s: float | None = None
    """Given instead of ``cron``."""
    timezone: str = "UTC"
    conf: dict[str, Any] = field(default_factory=dict)
    is_paused: bool = False
    catchup: bool = False
    start: str | None = None
    end: str | None = None
    max_active_runs: int = 16
    place: str = ""
    """Where its DAG is named: file, line and column."""


@dataclass(frozen=True, slots=True)
class DiskSettings:
    """How this appliance keeps its disk from filling up."""

    floor_bytes: int = 200_000_000
    """Free space in the data folder below which no new run is accepted."""
    logs_bytes: int = 5_000_000_000
    """What logs may take; beyond it those of the oldest runs are removed."""


@dataclass(frozen=True, slots=True)
class Pool:
    """One pool: how many slots, and whether deferred tasks keep theirs."""

    slots: int
    include_deferred: bool = False


DEFAULT_POOL = "default_pool"
"""Its tasks name no other."""


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration of this appliance."""

    file: Path
    """Where appliance.yaml is, or would be."""
    data: Path
    is_in_environment: bool = False
    """Whether APPLIANCE_CONFIG holds it all, and ``file`` is not read."""
    project: Path | None = None
    """An Astro-style project: ``dags``, ``include``, ``plugins``, ``airflow_settings.yaml``."""
    role: Role = "all"
    temporal: TemporalSettings = TemporalSettings()
    worker: WorkerSettings = WorkerSettings()
    dags: DagSettings = DagSettings()
    disk: DiskSettings = DiskSettings()
    schedules: tuple[ScheduleSettings, ...] = ()
    secrets: Secrets = Secrets()
    pools: dict[str, Pool] = field(default_factory=dict)
    """By name; without ``default_pool`` unless it is configured."""
    airflow_env: dict[str, str] = field(default_factory=dict, repr=False)
    """``AIRFLOW__SECTION__KEY`` and friends as the user set them.

    What Airflow is started with is ``config.environment.airflow_environment``.
    """
    temporal_env: dict[str, str] = field(default_factory=dict, repr=False)
    """``TEMPORAL_*``: how to reach a server elsewhere, as Temporal's SDK reads it."""
    python_path: str = ""
    """``PYTHONPATH`` as the user set it."""
    key_path: Path | None = None
    """``APPLIANCE_KEY_FILE``."""
    warnings: tuple[str, ...] = ()
    """What the banner says about the configuration, a sentence each."""
    notes: tuple[str, ...] = ()
    """What ``appliance config check`` says besides, a sentence each."""
    restart_settings: Mapping[str, Any] = field(
        default_factory=dict, compare=False, repr=False
    )
    """What the file says of keys that need a restart: attribute → value."""
    sources: frozenset[Path] = frozenset()
    """The files all this was read from, there or not."""

    @property
    def origin(self) -> str:
        """Where the configuration is written, for people."""
        if self.is_in_environment:
            return "APPLIANCE_CONFIG"
        return f"{self.file}{'' if self.file.exists() else ' (not there; defaults)'}"

    @property
    def key_file(self) -> Path:
        """The keys that connections and variables of a submission are sealed with."""
        return self.key_path or self.data / "keys"

    @property
    def runs_server(self) -> bool:
        """Whether this appliance starts the bundled Temporal server."""
        return self.role != "worker" and self.temporal.address is None

    @property
    def runs_worker(self) -> bool:
        """Whether this appliance runs tasks."""
        return self.role != "server"
