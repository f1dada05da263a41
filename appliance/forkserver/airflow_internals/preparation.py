"""Imports, computations and caches that are made before any fork, so that no child repeats them."""

import importlib
import os
import socket
import sys
import uuid
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import msgspec
import structlog
from airflow.providers.common.io.xcom import backend as object_store
from airflow.sdk import DAG, plugins_manager, serde, task
from airflow.sdk._shared.module_loading import import_string
from airflow.sdk._shared.observability.metrics import stats
from airflow.sdk.api import client
from airflow.sdk.configuration import conf
from airflow.sdk.definitions._internal.types import NOTSET
from airflow.sdk.definitions.param import Param
from airflow.sdk.execution_time import comms, supervisor, task_runner
from airflow.sdk.io.fs import has_fs
from airflow.sdk.listener import get_listener_manager
from airflow.sdk.observability.metrics import stats_utils
from pydantic import JsonValue, TypeAdapter

from appliance.forkserver import frames, large_integers
from appliance.forkserver.airflow_internals import (
    child_process,
    dag_files,
    listeners,
    remote_logs,
    virtualenvs,
)
from appliance.forkserver.xcom_backend import AIRFLOWS, XComBackend

_LAZY_IMPORTS = (
    "airflow.sdk.definitions.asset.metadata",
    "airflow.sdk.definitions.retry_policy",
    "airflow.sdk.execution_time.cache",
    "airflow.sdk.execution_time.context",
    "airflow.sdk.execution_time.timeout",
    "airflow.serialization.serialized_objects",
    "jinja2.ext",
    "lazy_object_proxy",
    "setproctitle",
)
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_STORE = "xcom_objectstorage_path"
_REHEARSALS = 3
"""Python adapts the code of a function in its first calls, which writes to it."""


def prepare() -> dict[str, str]:
    """Import and cache what every child would otherwise import and compute again.

    Returns:
        Why plugins could not be imported, by file: Airflow goes on without them.
    """
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "client"
    for name in _LAZY_IMPORTS:
        importlib.import_module(name)
    dag_files.let_crashes_kill()
    _memoise_type_adapters()
    _memoise_hostname()
    _let_integers_be_wide()
    _spare_schemas_that_say_nothing()
    _fill_caches()
    _set_up_logs()
    supervisor.block_orm_access()
    virtualenvs.take_from_here()
    _check_store()
    _check_state_store()
    _leave_airflows_backend()
    for _ in range(_REHEARSALS):
        rehearse()
    _, plugin_errors = plugins_manager._get_plugins()  # noqa: SLF001 - listed in pinned_names
    return dict(plugin_errors)


def _check_store() -> None:
    """Find out now what would fail when the first large XCom is put away.

    Raises:
        ValueError: Airflow reaches no such store.
    """
    if not issubclass(task_runner.XCom, object_store.XComObjectStorageBackend):
        return
    object_store._get_threshold()  # noqa: SLF001 - listed in pinned_names
    path = conf.get(object_store.SECTION, _STORE)
    scheme, is_url, _ = path.partition("://")
    # Asking for other file systems imports all providers.
    if is_url and scheme != "file" and not has_fs(scheme):
        raise ValueError(
            f"`[{object_store.SECTION}] {_STORE}` should not begin with {scheme}://: "
            "no installed provider reaches that; install its package"
        )


def _check_state_store() -> None:
    """Find out now what would fail when a task first keeps a state; made is one by each task.

    Raises:
        ImportError: there is no such class.
    """
    if path := conf.get("workers", "state_store_backend", fallback=""):
        import_string(path)


def _leave_airflows_backend() -> None:
    """Have programs that tasks start look for no XCom backend they may not have; this process has ours by now."""
    if task_runner.XCom is XComBackend:
        os.environ["AIRFLOW__CORE__XCOM_BACKEND"] = AIRFLOWS


def rehearse() -> None:
    """Go through the motions of a try with a task that is none; nothing is called that users can see."""
    log = structlog.get_logger(logger_name="task")
    log.info("rehearsal", dag_id="rehearsal")
    stats.initialize(
        factory=stats_utils.get_stats_factory(),
        export_legacy_names=conf.getboolean("metrics", "legacy_names_on"),
    )
    ours, theirs = socket.socketpair()
    with ours, theirs:
        decoder = comms.CommsDecoder[comms.ToTask, comms.ToSupervisor](
            log=log, socket=theirs
        )
        ours.sendall(frames.opening(_details()))
        details = decoder._get_response()  # noqa: SLF001 - listed in pinned_names
    _go_through(details, decoder)


def _go_through(details: Any, decoder: Any) -> None:
    task = _NOOP.operator
    ti = task_runner.RuntimeTaskInstance.model_construct(
        **details.ti.model_dump(exclude_unset=True),
        task=task,
        _ti_context_from_server=details.ti_context,
        max_tries=0,
        start_date=details.start_date,
    )
    context = ti.get_template_context()
    task.render_template("{{ ds }}", context, task.dag.get_template_env())
    fields = task_runner._serialize_rendered_fields(task)  # noqa: SLF001 - listed in pinned_names
    for message in (
        comms.SetRenderedFields(rendered_fields=fields),
        comms.SucceedTask(end_date=_EPOCH, task_outlets=[], outlet_events=[]),
    ):
        decoder._make_frame(message).as_bytes()  # noqa: SLF001 - listed in pinned_names
    task_runner.XCom.serialize_value({"a": [_EPOCH]})


def _details() -> dict[str, Any]:
    """Return the orders of a try of the rehearsal."""
    ids = {"dag_id": "rehearsal", "run_id": "rehearsal"}
    moment = _EPOCH.isoformat()
    moments = ("logical_date", "data_interval_start", "data_interval_end", "run_after")
    dag_run: dict[str, Any] = {
        **ids,
        **dict.fromkeys((*moments, "start_date"), moment),
        "end_date": None,
        "run_type": "manual",
        "state": "running",
        "conf": {},
        "consumed_asset_events": [],
        "partition_key": None,
    }
    return {
        "type": "StartupDetails",
        "ti": {
            **ids,
            "id": str(uuid.UUID(int=1)),
            "task_id": "noop",
            "try_number": 1,
            "dag_version_id": str(uuid.UUID(int=1)),
        },
        "dag_rel_path": "rehearsal.py",
        "bundle_info": {"name": dag_files.BUNDLE, "version": None},
        "start_date": moment,
        "sentry_integration": "",
        "ti_context": {"dag_run": dag_run, "max_tries": 0, "should_retry": False},
    }


def _rehearsal_task() -> Any:
    with DAG("rehearsal", schedule=None, start_date=_EPOCH, params={"day": 1}):

        @task
        def noop() -> None:
            return None

        return noop()


_NOOP = _rehearsal_task()


def _memoise_type_adapters() -> None:
    """Build the two adapters every try builds, once; they are immutable."""
    built: tuple[Any, ...] = (comms.ToTask, JsonValue)
    known = {id(of): TypeAdapter(of) for of in built}

    class Memoised:
        def __class_getitem__(cls, item: Any) -> Any:
            return TypeAdapter[item]

        def __new__(cls, of: Any, *args: Any, **kwargs: Any) -> Any:
            if args or kwargs or id(of) not in known:
                return TypeAdapter(of, *args, **kwargs)
            return known[id(of)]

    comms.TypeAdapter = task_runner.TypeAdapter = Memoised


def _let_integers_be_wide() -> None:
    """Give the child's end of the wire what the supervisor's has for integers beyond 64 bits."""

    class Decoder:
        def __class_getitem__(cls, item: Any) -> Any:
            return msgspec.msgpack.Decoder[item]

        def __new__(cls, of: Any) -> Any:
            return msgspec.msgpack.Decoder(of, ext_hook=large_integers.read)

    msgpack = SimpleNamespace(**{**vars(msgspec.msgpack), "Decoder": Decoder})
    comms.msgspec = SimpleNamespace(**{**vars(msgspec), "msgpack": msgpack})
    comms._new_encoder = lambda: large_integers.Encoder(comms._msgpack_enc_hook)  # noqa: SLF001 - listed in pinned_names
    comms._FrameMixin._encoder = comms._new_encoder()  # noqa: SLF001 - listed in pinned_names


def _spare_schemas_that_say_nothing() -> None:
    """Have no value of a conf validated that is none of a param: that is a millisecond each, in every try."""
    known = Param.resolve

    def resolve(self: Any, *values: Any, **how: Any) -> Any:
        if self.schema or values or "value" in how or self.value is NOTSET:
            return known(self, *values, **how)
        return self.value

    Param.resolve = resolve


def _memoise_hostname() -> None:
    """Ask the resolver once; a container keeps its name."""
    hostname = client.get_hostname()
    client.get_hostname = task_runner.get_hostname = lambda: hostname


def _fill_caches() -> None:
    client.getuser()
    get_listener_manager()
    listeners.hooks()
    plugins_manager.integrate_macros_plugins()
    supervisor.ensure_secrets_backend_loaded()
    serde._register()  # noqa: SLF001 - listed in pinned_names
    stats._get_registry()  # noqa: SLF001 - listed in pinned_names


def _set_up_logs() -> None:
    """Configure Airflow's logging onto LOG_FD once, instead of onto a new fd in every child."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, child_process.LOG_FD, inheritable=False)
    os.close(nowhere)
    with remote_logs.set_aside():
        supervisor._configure_logs_over_json_channel(child_process.LOG_FD)  # noqa: SLF001 - listed in pinned_names
    # Airflow's writes to the log, where nobody would see why a zygote did not start.
    sys.excepthook = sys.__excepthook__
