"""Check that the data folder has room for another run, and the message when it has not.

Logs, large XComs and the history of every run end up there. A full disk stops the server and with it every run, so new
ones are turned away while those that have begun still have room to end.
"""

import os

from appliance.config.model import Config
from appliance.config.sizes import size


def shortage(config: Config) -> str | None:
    """Say that there is too little free space, and what to do; None when there is enough."""
    found = os.statvfs(config.data)
    free = found.f_bavail * found.f_frsize
    if free >= config.disk.floor_bytes:
        return None
    return (
        f"{config.data}: only {size(free)} of disk space are free there. Below "
        f"{size(config.disk.floor_bytes)} (disk.floor) no new run is accepted; those "
        f"that have begun go on. Make room: remove old logs or XComs in {config.data}, "
        "lower `retention`, or give it a larger disk."
    )
