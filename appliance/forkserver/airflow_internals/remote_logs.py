"""Airflow's remote logging, which in Airflow the supervisor does.

Besides what the package lists:

* ``sdk.log.load_remote_log_handler``: the configured handler, or None, kept in
  ``_ActiveLoggingConfig``; it has ``processors``, for each event as it is logged, and ``upload``,
  for the file. To make the processors may take a connection and the network.
* ``sdk.log.relative_path_from_logger``, which processors may call: takes ``_file`` of a logger.
"""

import json
import os
import socket
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.sdk.api.datamodels._generated import TaskInstance
from airflow.sdk.configuration import conf
from airflow.sdk.log import _ActiveLoggingConfig, load_remote_log_handler
from structlog import DropEvent

from appliance.forkserver.airflow_internals import dag_files

_SETTINGS = ("remote_base_log_folder", "remote_log_conn_id", "logging_config_class")


@contextmanager
def set_aside() -> Iterator[None]:
    """Set loggers up without the handler: what they write is kept, and uploaded, by another process."""
    handler = load_remote_log_handler()
    _ActiveLoggingConfig.remote_task_log = None
    try:
        yield
    finally:
        _ActiveLoggingConfig.remote_task_log = handler


def upload(given: dict[str, Any], questions: socket.socket) -> int:
    """Hand a log to the configured handler; nothing happens when there is none.

    Args:
        given: ``file``, relative to Airflow's log folder; ``start``, where in it the events begin that no handler has
            seen; ``ti``, the fields of its task instance.
        questions: where to ask for a connection; closed.

    Returns:
        Where in it the events begin that were added meanwhile.
    """
    with dag_files.questions_to(questions):
        path = Path(conf.get("logging", "base_log_folder"), given["file"])
        handler = load_remote_log_handler()
        if handler is None:
            return path.stat().st_size
        end = _process(handler.processors or (), path, given["start"])
        handler.upload(given["file"], TaskInstance(**given["ti"]))
        return end


def explained(error: Exception) -> str:
    """Return what went wrong, and where it is set."""
    told = [
        f"AIRFLOW__LOGGING__{name.upper()} is {value}"
        for name in _SETTINGS
        if (value := conf.get("logging", name, fallback=""))
    ]
    return (
        f"{''.join(traceback.format_exception(error))}"
        f"Check the settings of the remote log: {', '.join(told)}. Connections are in appliance.yaml."
    )


def _process(processors: Any, path: Path, start: int) -> int:
    """Show the events to handlers that send each by itself, such as those of CloudWatch; return where they end."""
    # By name: pathlib's file has a Path there.
    with open(str(path), encoding="utf-8", errors="replace") as log:  # noqa: PTH123
        if not processors:
            return log.seek(0, os.SEEK_END)
        log.seek(start)
        logger = SimpleNamespace(_file=log)
        end = start
        while (line := log.readline()).endswith("\n"):
            end = log.tell()
            event = json.loads(line)
            with suppress(DropEvent):
                for process in processors:
                    event = process(logger, event.get("level", "info"), event)
        return end
