"""Private names of Airflow that the appliance uses, all in one list; a missing one fails the import.

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

import importlib.metadata
from typing import Any

from airflow.dag_processing import collection, dagbag
from airflow.dag_processing.importers import python_importer
from airflow.sdk import configuration
from airflow.sdk._shared import secrets_masker
from airflow.sdk.execution_time import comms, supervisor, task_runner

AIRFLOW = "3.3.2"
TASK_SDK = "1.3.2"


def require(module: Any, *names: str) -> None:
    """Raise ImportError when a module has one of these names no more."""
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
require(task_runner, "main", "DagBundlesManager", "TypeAdapter", "get_hostname")
require(comms, "CommsDecoder", "ToTask", "TypeAdapter", "msgspec", "_FrameMixin")
require(comms, "_new_encoder", "_msgpack_enc_hook")
require(dagbag, "BundleDagBag")
require(python_importer, "signal", "PythonDagImporter")
require(python_importer.PythonDagImporter, "_process_modules")
require(collection, "_find_all_assets")
require(secrets_masker, "redact")
require(configuration, "_secrets_backend_cache")
require(
    supervisor,
    "_configure_logs_over_json_channel",
    "_reopen_std_io_handles",
    "_reset_signals",
    "block_orm_access",
    "ensure_secrets_backend_loaded",
)
