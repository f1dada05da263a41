"""Asks the worker of this host whether it is well; as a program, the health check of the image.

The worker asks the server for both: that it serves, and that it sees this worker poll. A dead worker cannot answer, so
nothing stale is ever taken for health. The socket is in the abstract namespace, where any user may ask and no file system
has to support it. As a program this must start in an instant: the standard library only, nothing of ours.
"""

import json
import os
import socket
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

TIMEOUT_S = 3.0
_PATIENCE_S = 4.0
_POLL_S = 0.1
_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Not by way of the proxy that the environment may name."""
PARTS = ("server", "worker", "room", "state")
"""Those of a ``ProbeResult`` that the worker answers for."""
SERVER = "server.url"
"""In the folder of a start, for a box without a worker: what to fetch from the server, through its UI."""
UI = "ui.url"
"""The same for a box that has both: what to fetch from the UI."""


def socket_name(folder: Path) -> str:
    """Name the socket of the worker whose run folder this is."""
    seen = folder.stat()
    return f"\0appliance-health-{seen.st_dev}-{seen.st_ino}"


def ask(folder: Path) -> dict[str, Any]:
    """Return what the worker says: its ``ProbeResult`` as JSON has it.

    Raises:
        OSError: nobody answers.
        ValueError: the answer was cut off.
    """
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(TIMEOUT_S)
        sock.connect(socket_name(folder))
        with sock.makefile("rb") as file:
            answer: dict[str, Any] = json.loads(file.read())
    return answer


def ui_why_not(folder: Path) -> str | None:
    """Say why the UI of the box whose run folder this is does not answer; empty when it does, None without one."""
    for url in (folder / UI, folder / SERVER):
        if url.exists():
            try:
                with _DIRECTLY.open(url.read_text(), timeout=TIMEOUT_S) as answer:
                    answer.read()
            except OSError as err:
                return f"it does not answer: {getattr(err, 'reason', err)}"
            return ""
    return None


def _why_not(folder: Path) -> str:
    """Say what is not well; empty when all is."""
    wrong = []
    if why := ui_why_not(folder):
        wrong.append(f"ui: {why}")
    if not (folder / SERVER).exists():
        answer = ask(folder)
        parts = {name: answer[name] for name in PARTS if answer[name]}
        wrong += [
            f"{name}: {part['why']}" for name, part in parts.items() if not part["ok"]
        ]
    return "; ".join(wrong)


def _looked(folder: Path) -> str:
    try:
        return _why_not(folder)
    except (OSError, ValueError) as err:
        return f"no answer: {err}"


def main() -> None:
    """Print one line; exit 0 as soon as all is well, 1 when that does not come about."""
    data = os.environ.get("APPLIANCE_DATA") or ".appliance"
    folder = Path(data) / "run" / socket.gethostname()
    deadline = time.monotonic() + _PATIENCE_S
    # An engine looks every few seconds only; a box that gets well meanwhile is seen at once.
    while (why := _looked(folder)) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    sys.stdout.write(f"{why or 'ok'}\n")
    sys.exit(1 if why else 0)


if __name__ == "__main__":
    main()
