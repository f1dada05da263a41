"""Stands where the Amazon provider's remote logging is; its bucket is a folder."""

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow.sdk.bases.hook import BaseHook
from airflow.sdk.configuration import conf


@dataclass
class S3RemoteLogIO:
    """Takes what Airflow's settings say; where the bucket is, says the connection."""

    remote_base: str
    base_log_folder: Path
    delete_local_copy: bool

    @property
    def processors(self) -> tuple[Any, ...]:
        """Return what each event is shown to; it takes a connection, as that of CloudWatch does."""
        BaseHook.get_connection(conf.get("logging", "remote_log_conn_id"))
        return (_show,)

    def upload(self, path: os.PathLike[str] | str, ti: Any = None) -> None:
        """Copy a log, and say whose it is."""
        connection = BaseHook.get_connection(conf.get("logging", "remote_log_conn_id"))
        if connection.host == "broken":
            raise ConnectionError(f"{connection.password} was not let in")
        store = Path(connection.host, self.remote_base.removeprefix("s3://"))
        target = store / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(self.base_log_folder, path), target)
        with target.with_suffix(".of").open("a") as file:
            file.write(f"{ti.task_id} {ti.map_index} {ti.try_number}\n")


def _show(logger: Any, _level: str, event: dict[str, Any]) -> dict[str, Any]:
    """Keep which events were shown of which file; in a task's own process there is no file."""
    name = getattr(getattr(logger, "_file", None), "name", None)
    if isinstance(name, str) and name.endswith(".log"):
        with Path(name).with_suffix(".shown").open("a") as file:
            file.write(json.dumps(event.get("event")) + "\n")
    return event
