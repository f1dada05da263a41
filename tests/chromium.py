"""A real Chromium without a window, told by its own debugging protocol what to open and what to run in the page."""

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

_START_S = 60.0
_PATIENCE_S = 60.0
_POLL_S = 0.1
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


class Page:
    """One page."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._calls = 0

    def open(self, url: str) -> None:
        """Go to a page."""
        self._call("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """Run JavaScript in the page, wait for what it promises, and return its value."""
        told = self._call(
            "Runtime.evaluate",
            expression=script,
            awaitPromise=True,
            returnByValue=True,
        )
        assert "exceptionDetails" not in told, told
        return told["result"].get("value")

    def wait_for(self, script: str) -> None:
        """Wait until JavaScript gives something true; the page may be on its way."""
        deadline = time.monotonic() + _PATIENCE_S
        while not self.run(script):
            shown = self.run("document.documentElement.innerText")
            assert time.monotonic() < deadline, f"{script}\n{shown}"
            time.sleep(_POLL_S)

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._calls += 1
        call = {"id": self._calls, "method": method, "params": params}
        self._connection.send(json.dumps(call))
        while True:
            told = json.loads(self._connection.recv(timeout=_PATIENCE_S))
            if told.get("id") == self._calls:
                assert "error" not in told, told
                result: dict[str, Any] = told["result"]
                return result


@contextmanager
def page(folder: Path, *, names: dict[str, str]) -> Iterator[Page]:
    """Start Chromium, and end it; ``names``: addresses by names that it finds there."""
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    assert program, "this test needs chromium"
    rules = ",".join(f"MAP {name} {address}" for name, address in names.items())
    command = [
        *(program, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"),
        *("--disable-dev-shm-usage", "--no-proxy-server", "--remote-debugging-port=0"),
        *(f"--user-data-dir={folder}", f"--host-resolver-rules={rules}", "about:blank"),
    ]
    with (folder / "chromium.log").open("wb") as log:
        browser = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        with connect(
            _address(folder, browser), max_size=None, proxy=None
        ) as connection:
            yield Page(connection)
    finally:
        browser.terminate()
        browser.wait(_PATIENCE_S)


def _address(folder: Path, browser: "subprocess.Popen[bytes]") -> str:
    """Wait until it says where its page is told what to do."""
    told = folder / "DevToolsActivePort"
    deadline = time.monotonic() + _START_S
    while not (told.exists() and told.read_text().strip()):
        said = (folder / "chromium.log").read_text(errors="replace")
        assert browser.poll() is None, said
        assert time.monotonic() < deadline, said
        time.sleep(_POLL_S)
    port = told.read_text().split()[0]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
        pages = [one for one in json.load(answer) if one["type"] == "page"]
    return str(pages[0]["webSocketDebuggerUrl"])
