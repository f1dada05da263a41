"""All uses of what Airflow does not promise to keep; only in zygotes and their children.

Pinned to apache-airflow 3.3.2 and apache-airflow-task-sdk 1.3.2, checked on import. On an
upgrade read this list against the new source:

* ``sdk.execution_time.task_runner``: ``main`` runs one try and reads its ``StartupDetails`` from
  ``CommsDecoder`` on fd 0; the global ``SUPERVISOR_COMMS`` is where Variable, Connection and XCom
  send requests; ``parse`` takes ``DagBundlesManager`` from its module and ``BundleDagBag`` from
  ``airflow.dag_processing.dagbag``; ``TypeAdapter`` is looked up in the module.
* ``sdk.execution_time.comms``: ``TypeAdapter`` is looked up in the module (twice a process,
  with ``ToTask``), and so is ``msgspec``, of which a process uses ``msgpack.Decoder``; ``_FrameMixin._encoder``
  writes frames, made by ``_new_encoder`` with ``_msgpack_enc_hook``.
* ``sdk.definitions.param.Param.resolve`` validates ``value`` by ``schema``, empty for what only a conf has.
* ``sdk.execution_time.supervisor``: ``_reset_signals``, ``_reopen_std_io_handles``,
  ``_configure_logs_over_json_channel``, ``block_orm_access``, ``ensure_secrets_backend_loaded``
  (imported by name, at each use, by Variable and Connection).
* ``sdk.execution_time.secrets.ExecutionAPISecretsBackend`` asks the supervisor.
* ``sdk.configuration._secrets_backend_cache``: search path → backends.
* ``sdk.api.client.get_hostname`` and ``task_runner.get_hostname``: resolve DNS at each call.
* ``sdk.serde._register``, ``sdk.plugins_manager.integrate_macros_plugins``,
  ``sdk.plugins_manager._get_plugins`` (plugins, and errors by file), ``sdk.log.load_remote_log_handler``, ``sdk.listener.get_listener_manager``: filled lazily.
* ``sdk._shared.observability.metrics.stats._get_registry``: reads a YAML file on first use.
* ``sdk._shared.secrets_masker.redact`` knows what ``Variable.get`` and ``Connection.get`` gave.
* ``listeners.spec.dagrun`` has the hooks of the scheduler; ``models.dagrun.DagRun`` is what they are given.
* ``dag_processing.processor._execute_callbacks`` takes a bag and requests, and asks
  ``task_runner.SUPERVISOR_COMMS``.
* ``dag_processing.importers.python_importer``: ``PythonDagImporter._process_modules`` takes the DAGs of a file's modules, and
  those of ``DagContext.autoregistered_dags``; of two with one id either is kept.
* ``dag_processing.importers.python_importer.signal``: the module it sets handlers with;
  ``serialization.encoders.coerce_to_core_timetable``.
* ``dag_processing.collection._find_all_assets`` of ``LazyDeserializedDAG``: what it would register.
"""

import atexit
import faulthandler
import gc
import importlib.metadata
import os
import signal
import socket
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from airflow.dag_processing import collection, dagbag
from airflow.dag_processing.importers import python_importer
from airflow.sdk import DAG, configuration
from airflow.sdk._shared import secrets_masker
from airflow.sdk.bases.secrets_backend import BaseSecretsBackend
from airflow.sdk.definitions._internal.contextmanager import DagContext
from airflow.sdk.execution_time import comms, supervisor, task_runner
from airflow.sdk.execution_time.secrets import ExecutionAPISecretsBackend
from airflow.serialization.encoders import coerce_to_core_timetable
from airflow.serialization.serialized_objects import LazyDeserializedDAG

AIRFLOW = "3.3.2"
TASK_SDK = "1.3.2"
BUNDLE = "dags-folder"
LOG_FD = 63
"""Where Airflow's loggers write JSON lines; nowhere, until a child puts its own channel there."""

_DIED_ODDLY = 126


def _require(module: Any, *names: str) -> None:
    missing = [name for name in names if not hasattr(module, name)]
    if missing:
        raise ImportError(
            f"{module.__name__} has no {', '.join(missing)}: see {__name__}"
        )


for _name, _pinned in (
    ("apache-airflow", AIRFLOW),
    ("apache-airflow-task-sdk", TASK_SDK),
):
    if (_found := importlib.metadata.version(_name)) != _pinned:
        raise ImportError(f"{_name} is {_found}, not {_pinned}: see {__name__}")
_require(task_runner, "main", "DagBundlesManager", "TypeAdapter", "get_hostname")
_require(comms, "CommsDecoder", "ToTask", "TypeAdapter", "msgspec", "_FrameMixin")
_require(comms, "_new_encoder", "_msgpack_enc_hook")
_require(dagbag, "BundleDagBag")
_require(python_importer, "signal", "PythonDagImporter")
_require(python_importer.PythonDagImporter, "_process_modules")
_require(collection, "_find_all_assets")
_require(secrets_masker, "redact")
_require(configuration, "_secrets_backend_cache")
_require(
    supervisor,
    "_configure_logs_over_json_channel",
    "_reopen_std_io_handles",
    "_reset_signals",
    "block_orm_access",
    "ensure_secrets_backend_loaded",
)


def freeze() -> None:
    """Keep the collector of every child away from what exists now, so its pages stay shared."""
    gc.collect()
    gc.freeze()


# --- reading a DAG file


def redirect_logs(fd: int) -> None:
    """Send Airflow's log lines to ``fd`` from now on; the caller closes its own copy."""
    os.dup2(fd, LOG_FD, inheritable=False)


@contextmanager
def questions_to(sock: socket.socket) -> Iterator[None]:
    """Let code run outside a task (a DAG file's top level) ask for Variables and Connections.

    Closes ``sock``.
    """
    task_runner.SUPERVISOR_COMMS = comms.CommsDecoder(socket=sock)
    try:
        yield
    finally:
        del task_runner.SUPERVISOR_COMMS
        sock.close()


def read_file(path: Path, root: Path) -> Any:
    """Parse one DAG file as the task runner would, into Airflow's own ``BundleDagBag``."""
    return dagbag.BundleDagBag(
        dag_folder=os.fspath(path),
        bundle_path=root,
        bundle_name=BUNDLE,
        safe_mode=False,
        load_op_links=False,
    )


@contextmanager
def twins() -> Iterator[set[str]]:
    """Yield what becomes the ids of DAGs of which a file has more than one."""
    importer = python_importer.PythonDagImporter
    process = importer._process_modules  # noqa: SLF001 - pinned, listed above
    found: set[str] = set()

    def noted(self: Any, path: str, modules: list[ModuleType], *rest: Any) -> None:
        made = [one for module in modules for one in vars(module).values()]
        made += [dag for dag, _ in DagContext.autoregistered_dags]
        dags = {id(one): one.dag_id for one in made if isinstance(one, DAG)}
        found.update(dag_id for dag_id, n in Counter(dags.values()).items() if n > 1)
        process(self, path, modules, *rest)

    importer._process_modules = noted  # noqa: SLF001 - pinned, listed above
    try:
        yield found
    finally:
        importer._process_modules = process  # noqa: SLF001 - pinned, listed above


def empty_bag(path: Path, root: Path) -> Any:
    """Return what ``read_file`` would for a file without DAGs, without reading it."""
    return dagbag.BundleDagBag(
        dag_folder=os.fspath(path),
        bundle_path=root,
        bundle_name=BUNDLE,
        collect_dags=False,
    )


def bag_of(path: Path, root: Path) -> Any:
    """Return what the real ``task_runner.parse`` would find here: the injected bag, or the file read again."""
    return dagbag.BundleDagBag(
        dag_folder=os.fspath(path), bundle_path=root, bundle_name=BUNDLE
    )


def read_from(root: Path) -> None:
    """Have the real ``task_runner.parse`` read its file below ``root``."""

    class Bundle:
        version = None

        def __init__(self, name: str) -> None:
            self.name = name
            self.path = root

        def initialize(self) -> None:
            """Nothing to fetch."""

    class Bundles:
        def get_bundle(self, name: str, version: str | None = None) -> Bundle:
            return Bundle(name)

    task_runner.DagBundlesManager = Bundles


def inject(bag: Any, root: Path) -> None:
    """Have the real ``task_runner.parse`` find this bag instead of reading the file again."""
    read_from(root)
    dagbag.BundleDagBag = lambda **_: bag


@contextmanager
def lookups() -> Iterator[list[None]]:
    """Yield a list that grows with every lookup of a Variable or Connection.

    Also of those that an environment variable answers before anybody is asked.
    """
    load = supervisor.ensure_secrets_backend_loaded
    seen: list[None] = []

    def counted() -> Any:
        seen.append(None)
        return load()

    supervisor.ensure_secrets_backend_loaded = counted
    try:
        yield seen
    finally:
        supervisor.ensure_secrets_backend_loaded = load


def without_secrets(text: str) -> str:
    """Return ``text`` with ``***`` for every secret that was fetched in this process."""
    return str(secrets_masker.redact(text))


def redacted(value: Any) -> Any:
    """Return a value with ``***`` for every secret in it, and for what a key says is one."""
    return secrets_masker.redact(value)


def let_crashes_kill() -> None:
    """Let a segmentation fault in a DAG file end the process.

    Airflow sets a Python handler for the signal, which cannot run: the fault recurs for ever.
    """

    class Signals:
        def __getattr__(self, name: str) -> Any:
            return getattr(signal, name)

        def signal(self, number: int, handler: Any) -> Any:
            if number == signal.SIGSEGV:
                return signal.getsignal(number)
            return signal.signal(number, handler)

    python_importer.signal = Signals()


def core_timetable(dag: Any) -> Any:
    """Return the DAG's timetable as the scheduler knows it."""
    return coerce_to_core_timetable(dag.timetable)


def declared_assets(serialized: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the assets a serialized DAG names, as a task is answered that asks for them."""
    dag = LazyDeserializedDAG(data=serialized)
    found = collection._find_all_assets([dag])  # noqa: SLF001 - pinned, listed above
    return [
        {"name": one.name, "uri": one.uri, "group": one.group, "extra": one.extra}
        for one in found
    ]


# --- in the child


def take_channels(
    requests: socket.socket, stdout: socket.socket, stderr: socket.socket, logs_fd: int
) -> None:
    """Put the supervisor's sockets where the task runner and user code expect them."""
    supervisor._reset_signals()  # noqa: SLF001 - pinned, listed above
    redirect_logs(logs_fd)
    supervisor._reopen_std_io_handles(requests, stdout, stderr)  # noqa: SLF001 - pinned, listed above
    # What kills an interpreter leaves a traceback in the log; a copy, as user code may close fd 2.
    faulthandler.enable(os.dup(stderr.fileno()))


def exit_code_of(target: Callable[[], None]) -> int:
    """Run ``target`` as Airflow's ``supervisor._fork_main`` does and return the exit code.

    Only exit functions registered after the fork run.
    """
    with suppress(AttributeError):
        atexit._clear()  # noqa: SLF001 - what Airflow does
    code = 0
    try:
        target()
    except SystemExit as stop:
        code = _code(stop)
    except Exception:  # noqa: BLE001 - the last frame of a process: say it and end
        code = _DIED_ODDLY
        with suppress(ValueError, OSError):  # User code may have closed it.
            traceback.print_exc(file=sys.stderr)
    with suppress(AttributeError):
        atexit._run_exitfuncs()  # noqa: SLF001 - what Airflow does
    for stream in (sys.stdout, sys.stderr):
        with suppress(ValueError, OSError):
            stream.flush()
    return code


def _code(stop: SystemExit) -> int:
    if isinstance(stop.code, int):
        return stop.code
    if stop.code:
        sys.stderr.write(f"{stop.code}\n")
        return 1
    return 1


def run_task() -> None:
    """Run one try with the real task runner; its orders come over fd 0."""
    task_runner.main()


def ask_supervisor_first(
    connections: Collection[str], variables: Collection[str]
) -> None:
    """Look these ids up at the supervisor before any other secrets backend."""

    class Submitted(ExecutionAPISecretsBackend):  # type: ignore[misc]
        def get_connection(self, conn_id: str, team_name: str | None = None) -> Any:
            return super().get_connection(conn_id) if conn_id in connections else None

        async def aget_connection(self, conn_id: str) -> Any:
            if conn_id not in connections:
                return None
            return await super().aget_connection(conn_id)

        def get_variable(self, key: str, team_name: str | None = None) -> Any:
            return super().get_variable(key) if key in variables else None

        async def aget_variable(self, key: str) -> Any:
            return await super().aget_variable(key) if key in variables else None

    _put_first(Submitted())


def _put_first(backend: BaseSecretsBackend) -> None:
    load = supervisor.ensure_secrets_backend_loaded

    def with_submitted() -> list[Any]:
        return [backend, *load()]

    supervisor.ensure_secrets_backend_loaded = with_submitted
