"""A DAG zygote without the DAG folder around it: reads one file, serves forks."""

import socket
from pathlib import Path
from typing import Any, NoReturn

from appliance.forkserver import datagrams, memory, zygote
from appliance.forkserver.airflow_internals import dag_files


def read(args: dict[str, Any], fds: list[int]) -> NoReturn:
    """Read ``args["path"]``, say what was found, serve; do not inject it when ``is_reparsed``."""
    channel = socket.socket(fileno=fds[0])
    path = Path(args["path"])
    if not args.get("is_reparsed"):
        bag = dag_files.read_file(path, path.parent)
        dag_files.inject(bag, path.parent)
        memory.freeze()
    datagrams.send(channel, {"op": "ready"})
    zygote.serve(channel)
