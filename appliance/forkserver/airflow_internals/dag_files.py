"""Reading of DAG files as Airflow's task runner does, and what a DAG says of itself.

Pinned to the names listed in ``pinned_names``.
"""

import os
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from airflow.dag_processing import collection, dagbag
from airflow.dag_processing.importers import python_importer
from airflow.sdk import DAG
from airflow.sdk.definitions._internal.contextmanager import DagContext
from airflow.sdk.execution_time import comms, supervisor, task_runner
from airflow.serialization.encoders import coerce_to_core_timetable
from airflow.serialization.serialized_objects import LazyDeserializedDAG

BUNDLE = "dags-folder"


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
def duplicate_dag_ids() -> Iterator[set[str]]:
    """Yield what becomes the ids of DAGs of which a file has more than one."""
    importer = python_importer.PythonDagImporter
    process = importer._process_modules  # noqa: SLF001 - listed in pinned_names
    found: set[str] = set()

    def noted(self: Any, path: str, modules: list[ModuleType], *rest: Any) -> None:
        made = [one for module in modules for one in vars(module).values()]
        made += [dag for dag, _ in DagContext.autoregistered_dags]
        dags = {id(one): one.dag_id for one in made if isinstance(one, DAG)}
        found.update(dag_id for dag_id, n in Counter(dags.values()).items() if n > 1)
        process(self, path, modules, *rest)

    importer._process_modules = noted  # noqa: SLF001 - listed in pinned_names
    try:
        yield found
    finally:
        importer._process_modules = process  # noqa: SLF001 - listed in pinned_names


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
    found = collection._find_all_assets([dag])  # noqa: SLF001 - listed in pinned_names
    return [
        {"name": one.name, "uri": one.uri, "group": one.group, "extra": one.extra}
        for one in found
    ]
