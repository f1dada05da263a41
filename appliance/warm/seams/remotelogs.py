"""Airflow's remote logging, which in Airflow the supervisor does.

Besides what the package lists:

* ``sdk.log.load_remote_log_handler``: the configured handler, or None, kept in
  ``_ActiveLoggingConfig``; it has ``processors``, for each event as it is logged, and ``upload``,
  for the file. To make the processors may take a connection and the network.
* ``sdk.log.relative_path_from_logger``, which processors may call: takes ``_file`` of a logger.
"""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.sdk.api.datamodels._generated import TaskInstance
from airflow.sdk.configuration import conf
from airflow.sdk.log import _ActiveLoggingConfig, load_remote_log_handler
from structlog import DropEvent

from appliance.warm import seams


@contextmanager
def set_aside() -> Iterator[None]:
    """Set loggers up without the handler: what they write is kept, and uploaded, by another process."""
    handler = load_remote_log_handler()
    _ActiveLoggingConfig.remote_task_log = None
    try:
        yield
    finally:
        _ActiveLoggingConfig.remote_task_log = handler


def upload(file: str, start: int, ti: dict[str, Any], questions: socket.socket) -> None:
    """Hand a log to the configured handler; nothing happens when there is none.

    Args:
        file: relative to Airflow's log folder.
        start: where in it the events begin that no handler has seen.
        ti: the fields of its task instance.
        questions: where to ask for a connection; closed.
    """
    with seams.questions_to(questions):
        handler = load_remote_log_handler()
        if handler is None:
            return
        path = Path(conf.get("logging", "base_log_folder"), file)
        _process(handler.processors or (), path, start)
        handler.upload(file, TaskInstance(**ti))


def _process(processors: Any, path: Path, start: int) -> None:
    """Show the events to handlers that send each by itself, such as those of CloudWatch."""
    if not processors:
        return
    # By name: pathlib's file has a Path there.
    with open(str(path), encoding="utf-8", errors="replace") as log:  # noqa: PTH123
        log.seek(start)
        logger = SimpleNamespace(_file=log)
        for line in log:
            event = json.loads(line)
            with suppress(DropEvent):
                for process in processors:
                    event = process(logger, event.get("level", "info"), event)
