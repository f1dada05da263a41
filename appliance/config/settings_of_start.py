"""File with the settings of the running appliance, from its start to its end.

A file that is saved meanwhile may have mistakes, or another port: commands on this host and a worker that is
started again go by what its server runs with. No secret is kept, as those can change at once.
"""

import json
from pathlib import Path
from typing import Any

from appliance.config.model import Config

_FILE = "settings.json"


def save_settings(config: Config, folder: Path) -> None:
    """Leave in the folder of this start what its file says that cannot change until the next."""
    text = json.dumps(dict(config.restart_settings), default=str)
    (folder / _FILE).write_text(text, encoding="utf-8")


def saved_settings(folder: Path) -> dict[str, Any] | None:
    """Return that, for ``load``; None when this start left nothing."""
    path = folder / _FILE
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, PermissionError):
        return None
    return found
