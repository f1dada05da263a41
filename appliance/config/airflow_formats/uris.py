"""Reads an Airflow connection URI as Airflow itself stores it, without importing Airflow.

The rules, and what looks odd about them, are those of ``airflow.models.connection.Connection``
(Airflow 3.3: ``_parse_from_uri``); a test compares the two. One thing is kinder: an
underscore in the type (``google_cloud_platform://``) is taken for the dash a URI needs.
"""

import json
import re
from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from appliance.config.model import Connection

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+._-]*)://")
_MOST_SCHEMES = 2


def from_uri(conn_id: str, uri: str) -> Connection:
    """Read ``type://login:password@host:port/schema?key=value``.

    Raises:
        ValueError: it is not such a URI; the text does not repeat it.
    """
    match = _SCHEME.match(uri)
    if match:
        uri = match[0].replace("_", "-") + uri[match.end() :]
    elif not uri.startswith("//"):
        raise ValueError("it does not start with type://")
    has_protocol = uri.count("://") == _MOST_SCHEMES
    if uri.count("://") > _MOST_SCHEMES:
        raise ValueError("it contains '://' more than twice")
    if has_protocol and re.search("[@:]", uri.split("://", 2)[1]):
        raise ValueError("a second '://' may only follow the first at once")
    try:
        return _parsed(conn_id, uri, has_protocol=has_protocol)
    except ValueError:
        # urllib's message repeats host or port, which may be part of a password.
        raise ValueError(
            "its host or port cannot be read; special characters in the login or "
            "password must be percent-encoded (/ is %2F, @ is %40)"
        ) from None


def _parsed(conn_id: str, uri: str, *, has_protocol: bool) -> Connection:
    scheme = urlsplit(uri).scheme
    rest = uri.replace(f"{scheme}://", "" if has_protocol else "//")
    parts = urlsplit(rest)
    return Connection(
        conn_id=conn_id,
        conn_type=normal_type(scheme),
        host=_host(parts, parts.scheme if has_protocol else ""),
        schema=unquote(parts.path[1:]),
        login=_unquoted(parts.username),
        password=_unquoted(parts.password) or None,
        port=parts.port,
        extra=_extra(parts.query),
    )


def normal_type(conn_type: str) -> str:
    """Return the type as hooks are registered by it."""
    if conn_type == "postgresql":
        return "postgres"
    return conn_type.replace("-", "_")


def _host(parts: SplitResult, protocol: str) -> str:
    host = unquote(parts.hostname or "")
    if "/" in host:
        # hostname is in lower case; a path keeps its own.
        netloc = parts.netloc.rsplit("@", 1)[-1]
        host = unquote(netloc.split(":", 1)[0])
    return f"{protocol}://{host}" if protocol and host else host


def _unquoted(text: str | None) -> str | None:
    return unquote(text) if text else text


def _extra(query: str) -> str | None:
    if not query:
        return None
    found: dict[str, Any] = dict(parse_qsl(query, keep_blank_values=True))
    if "__extra__" in found:
        return str(found["__extra__"])
    return json.dumps({key: _decoded(value) for key, value in found.items()})


def _decoded(value: str) -> Any:
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value
