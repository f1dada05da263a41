"""Decides whether a request may reach the UI, by its Host and Origin. Pure: a request's head in, why not out.

The UI asks for no password, and a browser on this machine reaches it for any page it shows. Such a page comes near in two
ways: its own name is made to point here (DNS rebinding), so the name it asks for is a foreign one; or it asks for ours, and
then the browser says which page asks. An address cannot be made to point elsewhere, so any is taken as the name of a host.
"""

import re
import socket
from collections.abc import Collection, Mapping
from contextlib import suppress

_HOST = re.compile(r"(?P<name>[^\s:/?#@\[\]]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_ORIGIN = re.compile(r"https?://(?P<host>.+)")
_SHOWN = 200
NAMES = ("localhost",)
"""Those that point here for everybody."""


def refusal(
    method: str, headers: Mapping[str, str], names: Collection[str]
) -> str | None:
    """Say why a request may not reach the UI; None: it may.

    Args:
        method: ``GET``.
        headers: of the request, by name in lower case.
        names: of this host, besides ``NAMES`` and addresses; in lower case.
    """
    host = headers.get("host", "").lower()
    name = _name(host)
    if not (_is_address(name) or name in NAMES or name in names):
        return (
            f"It was asked for as {_shown(host)}, which is not its name: any web page "
            f"can make a name of its own point here.\n{_ways_out(name)}"
        )
    origin = headers.get("origin", "").lower()
    if origin and not _is_ours(origin, host, names):
        asking = _ORIGIN.fullmatch(origin)
        return (
            f"A page of {_shown(origin)} has asked for it, which is another one than "
            f"{_shown(host)}.\n{_ways_out(_name(asking['host']) if asking else '')}"
        )
    if _is_foreign(method, headers):
        return "A page of another site has asked for it.\n" + _ways_out("")
    return None


def _is_ours(origin: str, host: str, names: Collection[str]) -> bool:
    """Whether a page is of the very host and port that it asks, or of a name that people set."""
    asking = _ORIGIN.fullmatch(origin)
    return asking is not None and (
        asking["host"] == host or _name(asking["host"]) in names
    )


def _is_foreign(method: str, headers: Mapping[str, str]) -> bool:
    """Whether a browser says that another site's page asks for a part of itself; a link to us may be followed."""
    if headers.get("sec-fetch-site") not in ("cross-site", "same-site"):
        return False
    is_link = headers.get("sec-fetch-dest") == "document" and method in ("GET", "HEAD")
    return not is_link


def _name(host: str) -> str:
    found = _HOST.fullmatch(host)
    return found["name"] if found else ""


def _is_address(name: str) -> bool:
    family = socket.AF_INET6 if name.startswith("[") else socket.AF_INET
    with suppress(OSError):
        return bool(socket.inet_pton(family, name.strip("[]")))
    return False


def _ways_out(name: str) -> str:
    """Say what to open instead, and what to set for a name that people want to use."""
    text = "On the machine itself, open it as http://localhost and its port."
    if name and not _is_address(name) and name not in NAMES:
        text += (
            f" If people are to use the name {name}, set temporal.ui_hosts: {name} in "
            f"appliance.yaml, or APPLIANCE_UI_HOSTS={name}."
        )
    return text


def _shown(text: str) -> str:
    return ascii(text[:_SHOWN]) if text else "nothing"
