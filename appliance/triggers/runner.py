"""Entry points of the triggerer's process, and of the lookup of a task's start trigger. Imports Airflow.

``run`` is the process all triggers of a worker run in; ``start`` looks up, in a child of the DAG's own zygote, what a
task starts from that is never run before its trigger has fired.
"""

import os
import socket
import sys
from pathlib import Path
from typing import Any, NoReturn

from airflow.serialization.serialized_objects import DagSerialization
from setproctitle import setproctitle

from appliance.dagfile.dag_location import DagLocation
from appliance.forkserver import child_call
from appliance.forkserver.airflow_internals import child_process, dag_files, triggers

TITLE = "appliance triggerer"
"""What it is called where processes are listed."""


def run(args: dict[str, Any], fds: list[int]) -> NoReturn:
    """Run triggers; ``fds`` are requests, stdout, stderr and logs."""
    requests, stdout, stderr = (socket.socket(fileno=fd) for fd in fds[:3])
    child_process.take_channels(requests, stdout, stderr, fds[3])
    for sock in (requests, stdout, stderr):
        sock.close()
    os.close(fds[3])
    setproctitle(TITLE)
    DagLocation.of(args).put_on_path()
    sys.exit(child_process.exit_code_of(triggers.run_triggers))


def start(_args: dict[str, Any], fds: list[int]) -> None:
    """Answer ``{root, file, dag_id, task_id}`` with the trigger's class and arguments, and the DAG serialized."""
    child_call.answer(fds[0], _start)


def _start(given: dict[str, Any]) -> dict[str, Any]:
    root = Path(given["root"])
    bag = dag_files.bag_of(root / given["file"], root)
    serialized = DagSerialization.to_dict(bag.dags[given["dag_id"]])
    found = triggers.start_of(serialized, given["task_id"])
    return {**found, "dag_data": serialized}
