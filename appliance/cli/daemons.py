"""Commands that start, stop and examine the box itself."""

import click

from appliance.cli.box import Box, pass_box
from appliance.cli.command import Command
from appliance.errors import TemporalUnreachable


@click.command(cls=Command, epilog="Example: appliance up")
@pass_box
def up(box: Box, /) -> None:
    """Start the appliance in the foreground."""
    from appliance.boot.up import run

    run(box.load())


@click.command(cls=Command, epilog="Example: appliance down")
@pass_box
def down(box: Box, /) -> None:
    """Stop the appliance; its runs go on at the next start."""
    from appliance.boot.up import down as stop

    stop(box.load())


@click.command(cls=Command, epilog="Example: APPLIANCE_ROLE=worker appliance worker")
@pass_box
def worker(box: Box, /) -> None:
    """Run a worker alone ('up' starts one by itself)."""
    from appliance.temporal.worker import run

    run(box.load())


@click.command(cls=Command, epilog="Example: appliance health")
@pass_box
def health(box: Box, /) -> None:
    """Say whether server and worker answer."""
    found = box.ask(lambda server: server.probe())
    for name, part in (("temporal", found.server), ("worker", found.worker)):
        click.echo(f"{name:<9} {'ok' if part.ok else f'NOT OK: {part.why}'}")
    if not (found.server.ok and found.worker.ok):
        raise TemporalUnreachable("")


@click.command(cls=Command, epilog="Example: appliance version")
def version() -> None:
    """Print the versions of the parts."""
    from importlib.metadata import version as installed

    for package in ("appliance", "apache-airflow", "temporalio"):
        click.echo(f"{package} {installed(package)}")
