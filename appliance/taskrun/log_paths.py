"""Paths of task logs in the data folder, in Airflow's layout.

Imports nothing else of the appliance: the process that supervises the others needs it for as long as it runs.
"""

import hashlib
from pathlib import PurePosixPath

FOLDER = "logs"
"""Below the data folder."""
_NAME_BYTES = 240
_KEPT_CHARS = 48


def run_folder(dag_id: str, run_id: str) -> PurePosixPath:
    """Return the folder of a run's logs, relative to the data folder."""
    return PurePosixPath(FOLDER, _part("dag_id", dag_id), _part("run_id", run_id))


def log_file(
    dag_id: str, run_id: str, task_id: str, *, map_index: int, try_number: int
) -> PurePosixPath:
    """Return the log file of a try, relative to the data folder."""
    folder = run_folder(dag_id, run_id) / _part("task_id", task_id)
    if map_index >= 0:
        folder /= f"map_index={map_index}"
    return folder / f"attempt={try_number}.log"


def _part(name: str, value: str) -> str:
    """Return a folder's name. Airflow puts the value there as it is; only what no folder can be called differs."""
    text = value.replace("/", "%2F").replace("\0", "%00")
    part = f"{name}={text}"
    if len(part.encode(errors="replace")) <= _NAME_BYTES:
        return part
    digest = hashlib.sha256(value.encode(errors="replace")).hexdigest()[:16]
    return f"{name}={text[:_KEPT_CHARS]}~{digest}"
