"""``demo``: a private appliance, one example run on it, and what came out."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from appliance.cli.box import Box, pass_box
from appliance.cli.command import Command
from appliance.errors import ApplianceError, RunFailed

RUN_ID = "demo"
"""Never used already, as the data folder is new."""

_POLL_S = 0.1
_STOP_S = 60.0
_LAST_LINES = 15


class DemoFailed(ApplianceError):
    """The private appliance did not come up or did not stop."""

    exit_code = 1


@click.command(cls=Command, epilog="Example: appliance demo")
@click.argument("dag_id", default="my_data_pipeline")
@pass_box
def demo(box: Box, /, *, dag_id: str) -> None:
    """Run an example on a private appliance and show the outcome.

    DAG_ID is my_data_pipeline unless given. The data folder of the appliance is new, and
    removed when it has stopped.
    """
    from dataclasses import replace

    from appliance.boot.preflight import check

    with tempfile.TemporaryDirectory(prefix="appliance-demo-") as folder:
        data = Path(folder)
        check(replace(box.load(), data=data), platform=sys.platform)
        began = time.monotonic()
        click.echo(f"$ appliance up   (data in {data} until the end)")
        with _running(data) as up:
            click.echo(f"$ submit {dag_id} --wait")
            code = _follow(up, data, "submit", dag_id, "--run-id", RUN_ID, "--wait")
            if code == 0:
                click.echo(f"\n$ appliance xcoms {dag_id} {RUN_ID}")
                code = _follow(up, data, "xcoms", dag_id, RUN_ID)
            took_s = time.monotonic() - began
    click.echo(f"\nStopped after {took_s:.1f} s. To keep one running: make up")
    if code:
        # The command has already said why.
        raise _Ended(code)


class _Ended(RunFailed):
    """The run did not succeed; ends with the code of the command that waited."""

    def __init__(self, code: int) -> None:
        super().__init__("")
        self.exit_code = code


@contextmanager
def _running(data: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start an appliance on ``data`` and stop it at the end, however that comes."""
    with (data / "up.log").open("wb") as log:
        # Its own session: Ctrl-C is for us, who then stop it in order.
        up = subprocess.Popen(
            _command("up"),
            env=_environment(data),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield up
    finally:
        up.terminate()
        try:
            up.wait(_STOP_S)
        except subprocess.TimeoutExpired as err:
            up.kill()
            raise DemoFailed(f"The appliance did not stop.\n{_last(data)}") from err


def _follow(up: subprocess.Popen[bytes], data: Path, *words: str) -> int:
    """Run a command to its end, as long as the appliance is up; return its exit code."""
    command = subprocess.Popen(
        _command(*words), env=_environment(data), stdin=subprocess.DEVNULL
    )
    try:
        while command.poll() is None:
            if up.poll() is not None:
                raise DemoFailed(f"The appliance did not stay up.\n{_last(data)}")
            time.sleep(_POLL_S)
    finally:
        command.kill()
    return command.wait()


def _command(*words: str) -> list[str]:
    return [sys.executable, "-m", "appliance", *words]


def _environment(data: Path) -> dict[str, str]:
    return {**os.environ, "APPLIANCE_DATA": str(data)}


def _last(data: Path) -> str:
    lines = (data / "up.log").read_text(errors="replace").splitlines()
    return "\n".join(lines[-_LAST_LINES:])
