"""The command ``appliance demo``: a private appliance, one example run on it, and its outcome."""

import sys
import tempfile
import time
from pathlib import Path

import click

from appliance.cli.command import Command
from appliance.cli.context import CommandContext, pass_context
from appliance.cli.temporary_appliance import background

RUN_ID = "demo"
"""Never used already, as the data folder is new."""


@click.command(cls=Command, epilog="Example: appliance demo")
@click.argument("dag_id", default="my_data_pipeline")
@pass_context
def demo(context: CommandContext, /, *, dag_id: str) -> None:
    """Run an example on a private appliance and show the outcome.

    DAG_ID is my_data_pipeline unless given. The data folder of the appliance is new, and
    removed when it has stopped.
    """
    from dataclasses import replace

    from appliance.boot.preflight import check

    with tempfile.TemporaryDirectory(prefix="appliance-demo-") as folder:
        data = Path(folder)
        check(replace(context.load(), data=data), platform=sys.platform)
        began = time.monotonic()
        click.echo(f"$ appliance up   (data in {data} until the end)")
        with background(data) as started:
            click.echo(f"$ submit {dag_id} --wait")
            code = started.run("submit", dag_id, "--run-id", RUN_ID, "--wait")
            if code == 0:
                click.echo(f"\n$ appliance xcoms {dag_id} {RUN_ID}")
                code = started.run("xcoms", dag_id, RUN_ID)
            took_s = time.monotonic() - began
    click.echo(f"\nStopped after {took_s:.1f} s. To keep one running: make up")
    if code:
        # The command has already said why.
        raise click.exceptions.Exit(code)
