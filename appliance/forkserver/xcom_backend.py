"""The appliance's XCom backend: Airflow's default values, large ones in the object store.

Airflow's own ``XComObjectStorageBackend`` has other values: it refuses keys that are no text, and loses the types of
what is nested in a large one. Here a value is the same on either side of the threshold. An object may also be one that
that backend has written.

It is no part of ``airflow_internals``: Airflow imports it while it is itself half imported. It relies on:

* ``providers.common.io.xcom.backend``: ``_get_threshold`` is the configured one, ``_get_full_path`` knows a reference
  and is replaced, for Airflow's own backend too, by one that follows none out of the store;
  ``serialize_value`` writes the object with ``XComEncoder``, which is looked up in the module; nothing in the SDK calls
  ``store_value``.
"""

import json
import os
import posixpath
from types import SimpleNamespace
from typing import Any

from airflow.providers.common.io.xcom import backend as object_store
from airflow.sdk.bases.xcom import BaseXCom

AIRFLOWS = "airflow.providers.common.io.xcom.backend.XComObjectStorageBackend"
"""Airflow's own one, which reads what this one writes."""

_LOCAL = ("", "file", "local")
_any_path = object_store.XComObjectStorageBackend._get_full_path  # noqa: SLF001 - pinned, see above


def _path_in_the_store(data: Any) -> Any:
    """Return the path of an object; Airflow's own one leaves ``..`` and links in it, and any XCom may be a reference.

    Raises:
        TypeError: it is no reference.
        ValueError: it is none to an object of the store.
    """
    path = _any_path(data)
    base = object_store._get_base_path()  # noqa: SLF001 - pinned, see above
    inner, outer = posixpath.normpath(path.path), posixpath.normpath(base.path)
    if base.protocol in _LOCAL:
        inner, outer = os.path.realpath(inner), os.path.realpath(outer)
    if posixpath.commonpath((inner, outer)) != outer or inner == outer:
        raise ValueError(f"not an object of {base}: {data}")
    return path


object_store.XComObjectStorageBackend._get_full_path = staticmethod(  # noqa: SLF001 - pinned, see above
    _path_in_the_store
)


class XComBackend(object_store.XComObjectStorageBackend):  # type: ignore[misc]  # untyped
    """What ``core.xcom_backend`` is unless somebody sets another."""

    @staticmethod
    def serialize_value(value: Any, **where: Any) -> Any:
        """Return the JSON that stands for a value, or a reference to that.

        Raises:
            TypeError: Airflow cannot serialize it.
            AttributeError: it has a key that is Airflow's own.
            ValueError: it has a number that JSON has not.
        """
        plain: Any = BaseXCom.serialize_value(value)
        size_bytes = len(json.dumps(plain, allow_nan=False))
        threshold = object_store._get_threshold()  # noqa: SLF001 - pinned, see above
        if threshold < 0 or size_bytes < threshold:
            return plain
        return XComBackend.put(plain, **where)

    @staticmethod
    def deserialize_value(result: Any) -> Any:
        """Return the value that JSON, or a reference to that, stands for."""
        plain = XComBackend.take(result.value)
        return BaseXCom.deserialize_value(SimpleNamespace(value=plain))

    @staticmethod
    def put(plain: Any, **where: Any) -> Any:
        """Write JSON to the store if it reaches the threshold; return what stands for it."""
        theirs = object_store.XComEncoder
        # Airflow's would serialize once more what is JSON already.
        object_store.XComEncoder = json.JSONEncoder
        try:
            return object_store.XComObjectStorageBackend.serialize_value(plain, **where)
        finally:
            object_store.XComEncoder = theirs

    @staticmethod
    def take(stored: Any) -> Any:
        """Follow a reference to the JSON it stands for; anything else comes back as it is."""
        try:
            path = XComBackend._get_full_path(stored)
        except (TypeError, ValueError):
            return stored
        try:
            with path.open(mode="rb", compression="infer") as file:
                return json.load(file)
        except (FileNotFoundError, TypeError, ValueError):
            return stored
