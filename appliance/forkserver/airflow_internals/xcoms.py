"""XComs in the object store, where Airflow's own backend puts them.

Besides what the package lists:

* ``sdk.execution_time.xcom.XCom``: the configured backend;
* ``providers.common.io.xcom.backend``: ``_get_threshold`` and ``XComDecoder`` are looked up in the
  module; below ``_get_base_path`` there is a folder a DAG, in that one a run;
* ``sdk.serde._match`` decides which classes are deserialized.
"""

import json
from types import SimpleNamespace
from typing import Any

from airflow.providers.common.io.xcom import backend as object_store
from airflow.sdk import serde
from airflow.sdk.execution_time.xcom import XCom

from appliance.forkserver.xcom_backend import XComBackend


def store(value: Any, **where: Any) -> Any:
    """Put away an XCom the backend left inline, as if its threshold were 0; return the reference.

    Only Airflow's object storage backend can; with any other the value comes back as it is.
    """
    if not issubclass(XCom, object_store.XComObjectStorageBackend):
        return value
    object_store._get_threshold = lambda: 0  # noqa: SLF001 - pinned, see above
    if issubclass(XCom, XComBackend):
        return XCom.put(value, **where)
    # The value was made by this DAG's own code: nothing is gained by refusing its classes.
    serde._match = lambda _: True  # noqa: SLF001 - pinned, see above
    return XCom.serialize_value(serde.deserialize(value), **where)


def resolve(stored: Any) -> Any:
    """Follow a reference to the JSON it stands for; anything else comes back as it is."""
    if not isinstance(stored, str):
        return stored
    if issubclass(XCom, XComBackend):
        return XCom.take(stored)
    # The file holds what serde made: to show it, no class of the DAG need be imported.
    object_store.XComDecoder = json.JSONDecoder
    value = XCom.deserialize_value(SimpleNamespace(value=stored))
    if issubclass(XCom, object_store.XComObjectStorageBackend):
        return value
    return serde.serialize(value)


def purge(dag_id: str, run_id: str) -> None:
    """Delete what the object storage backend has put away for a run; others keep it themselves."""
    if not issubclass(XCom, object_store.XComObjectStorageBackend):
        return
    folder = object_store._get_base_path()  # noqa: SLF001 - pinned, see above
    for name in (dag_id, run_id):
        if name in ("", ".", "..") or "/" in name:
            return
        folder /= name
    if folder.exists():
        folder.fs.rm(folder.path, recursive=True)
