"""``appliance once``: an appliance for one run only, which is what ``docker run ... submit`` does."""

import sys

import click

from appliance.cli.command import Command
from appliance.cli.context import CommandContext, pass_context
from appliance.cli.submission import submit
from appliance.cli.temporary_appliance import background


@click.command(
    cls=Command,
    epilog="Example: appliance once my_dag --timeout 600",
    context_settings={"ignore_unknown_options": True},
)
@click.argument(
    "words", nargs=-1, required=True, metavar="DAG_ID...", type=click.UNPROCESSED
)
@pass_context
def once(context: CommandContext, /, *, words: tuple[str, ...]) -> None:
    """Start an appliance, submit a run, wait, stop.

    Takes what submit takes (see submit --help) and ends with its exit code; waits also
    without --wait. With TEMPORAL_ADDRESS no appliance is started: the run is submitted to
    that server.
    """
    from appliance.boot.preflight import check

    # Wrong words end here, before anything is started.
    asked = submit.make_context("submit", list(words)).params
    config = context.load()
    if config.temporal.address is not None:
        submit.main(list(words), prog_name="submit")
    check(config, platform=sys.platform)
    if not (asked["wait"] or asked["follow"]):
        words = (*words, "--wait")
    with background(config.data) as started:
        code = started.run("submit", *words)
    raise click.exceptions.Exit(code)
