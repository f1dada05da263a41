"""Which files of the DAG folder Airflow would read. Child side.

Airflow's own lister decides: ``.airflowignore``, safe mode, archives, and what
``might_contain_dag_callable`` and other settings say.
"""

import os
import socket
from pathlib import Path
from typing import Any, NoReturn

from airflow.configuration import conf
from airflow.dag_processing.importers import get_importer_registry

from appliance.dagfile.place import Place, output_to
from appliance.warm import datagrams


def list_files(args: dict[str, Any], fds: list[int]) -> NoReturn:
    """List the DAG files, relative to the DAG folder, over the channel; then end.

    Args:
        args: As ``Place`` reads them.
        fds: The channel, and where to say what goes wrong.
    """
    channel = socket.socket(fileno=fds[0])
    place = Place.of(args)
    with output_to(fds[1]):
        place.put_on_path()  # might_contain_dag_callable may be the user's
        found = get_importer_registry().list_dag_files(
            place.root, safe_mode=conf.getboolean("core", "dag_discovery_safe_mode")
        )
    files = sorted(Path(path).relative_to(place.root).as_posix() for path in found)
    datagrams.send(channel, {"op": "ready", "files": files})
    os._exit(0)
