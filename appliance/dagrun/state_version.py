"""Version of the JSON document that an entity workflow passes on at each continue-as-new. Pure.

A document without a version has version 1: so the release 0.1.0 wrote it. A change of its shape that an
older reader would misread gets the next number in the feature's ``model.py``, whose ``from_json`` reads
all older ones, and a recorded document in ``tests/states``.
"""

from collections.abc import Mapping
from typing import Any

VERSION_KEY = "version"


class NewerStateError(Exception):
    """A document was written by a newer version of the appliance.

    Not a ``ValueError``: the workflow task fails and is tried again, until a version runs that reads it.
    """


def refuse_newer(document: Mapping[str, Any], newest: int, what: str) -> int:
    """Return the version of a document.

    Args:
        document: As ``to_json`` wrote it; one without a version has version 1.
        newest: The newest version that the caller reads.
        what: What the document is about, for the message.

    Raises:
        NewerStateError: it is of a newer version.
    """
    version: int = document.get(VERSION_KEY, 1)
    if version > newest:
        raise NewerStateError(
            f"the state of {what} has version {version}; this version of the appliance "
            f"reads no newer one than {newest}. Start the newer version again, which wrote it"
        )
    return version
