"""A container of the image under test, as its users run it: by the `docker` command."""

import json
import os
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.box import Ended

IMAGE = os.environ.get("TESTED_IMAGE", "appliance")
START_S = 60.0
_POLL_S = 0.1
_LAST_CHARACTERS = 4000


@dataclass(frozen=True, slots=True)
class Container:
    """One that was started."""

    name: str

    def exec(self, *words: str, user: str | None = None) -> Ended:
        """Run a command inside, as ``docker exec`` does."""
        options = () if user is None else ("--user", user)
        return docker("exec", *options, self.name, *words)

    def logs(self) -> str:
        """Return all it has printed, both streams."""
        shown = docker("logs", self.name)
        return shown.stdout + shown.stderr

    def last_error(self) -> str:
        """Return the last line it printed on stderr."""
        return docker("logs", self.name).stderr.rstrip().splitlines()[-1]

    def inspect(self) -> dict[str, Any]:
        """Return what the engine knows of it."""
        found: dict[str, Any] = docker("inspect", self.name).json[0]
        return found

    @property
    def state(self) -> dict[str, Any]:
        """``Status``, ``ExitCode``, ``Health`` and the like."""
        state: dict[str, Any] = self.inspect()["State"]
        return state

    @property
    def address(self) -> str:
        """Its address on the default network."""
        return str(self.inspect()["NetworkSettings"]["IPAddress"])

    def is_well(self) -> bool:
        """Whether the engine takes it for healthy."""
        state = self.state
        assert state["Running"], self.logs()[-_LAST_CHARACTERS:]
        return bool(state["Health"]["Status"] == "healthy")

    def wait_until_well(self) -> "Container":
        """Wait for the engine's word."""
        until(self.is_well, lambda: self.logs()[-_LAST_CHARACTERS:])
        return self

    def ended(self) -> int:
        """Wait for its end and return the exit code."""
        return int(docker("wait", self.name).stdout)


def docker(*words: str, timeout_s: float = 120.0) -> Ended:
    """Run ``docker``."""
    done = subprocess.run(
        ["docker", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def run(*options: str, words: tuple[str, ...] = ()) -> Ended:
    """Run a container to its end."""
    return docker("run", "--rm", *options, IMAGE, *words)


@contextmanager
def started(*options: str, words: tuple[str, ...] = ()) -> Iterator[Container]:
    """Start a container in the background; remove it and what nobody named in the end."""
    name = f"appliance-test-{uuid.uuid4().hex[:8]}"
    done = docker("run", "--detach", "--name", name, *options, IMAGE, *words)
    try:
        assert done.code == 0, done.stderr
        yield Container(name)
    finally:
        docker("rm", "--force", "--volumes", name)


@contextmanager
def volume() -> Iterator[str]:
    """Make a named volume."""
    name = f"appliance-test-{uuid.uuid4().hex[:8]}"
    assert docker("volume", "create", name).code == 0
    try:
        yield name
    finally:
        docker("volume", "rm", "--force", name)


def until(
    holds: Callable[[], bool], say: Callable[[], str], *, within_s: float = START_S
) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, say()
        time.sleep(_POLL_S)


def rows(ended: Ended) -> list[dict[str, Any]]:
    """Return the rows of a command that printed them as JSON."""
    assert ended.code == 0, ended.stderr
    found: list[dict[str, Any]] = json.loads(ended.stdout)
    return found
