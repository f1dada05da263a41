"""The command ``appliance backfill``: the runs of a past period."""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from appliance.cli.command import Command, Interrupted
from appliance.cli.context import CommandContext, pass_context
from appliance.cli.output import output_option, print_json, print_table
from appliance.cli.param_types import json_object, moment

if TYPE_CHECKING:
    from appliance.backfills.messages import (
        BackfillProgress,
        BackfillRequest,
        Reprocess,
    )


@click.command(
    cls=Command,
    epilog="Example: appliance backfill my_dag --from 2026-01-01 --to 2026-01-31",
)
@click.argument("dag_id")
@click.option(
    "--from", "from_date", callback=moment, metavar="T", help="First logical date."
)
@click.option(
    "--to", "to_date", callback=moment, metavar="T", help="Last logical date."
)
@click.option("--run-backwards", is_flag=True, help="Latest first.")
@click.option(
    "--max-active-runs",
    default=10,
    show_default=True,
    type=click.IntRange(min=1, max=1000),
    help="How many of its runs may run at once.",
)
@click.option(
    "--reprocess",
    default="none",
    show_default=True,
    type=click.Choice(["none", "failed", "completed"]),
    help="Which runs there have been are made again.",
)
@click.option("--conf", callback=json_object, metavar="JSON", help="For every run.")
@click.option("--dry-run", is_flag=True, help="Only say which runs it would make.")
@click.option("--detach", is_flag=True, help="Do not wait for its end.")
@click.option("--cancel", is_flag=True, help="End the backfill of DAG_ID that goes on.")
@output_option
@pass_context
def backfill(
    context: CommandContext,
    /,
    *,
    dag_id: str,
    from_date: str | None,
    to_date: str | None,
    run_backwards: bool,
    max_active_runs: int,
    reprocess: "Reprocess",
    conf: dict[str, Any],
    dry_run: bool,
    detach: bool,
    cancel: bool,
    output: str,
) -> None:
    """Make the runs of DAG_ID's schedule between two dates; goes on when this command is ended."""
    if cancel:
        context.ask(lambda server: server.backfills.cancel(dag_id))
        click.echo(f"Asked the backfill of {dag_id} to end.")
        return

    if from_date is None or to_date is None:
        raise click.UsageError("Give --from and --to, a date or a time each.")
    from appliance.backfills.messages import BackfillRequest

    request = BackfillRequest(
        dag_id=dag_id,
        from_date=from_date,
        to_date=to_date,
        max_active_runs=max_active_runs,
        is_backwards=run_backwards,
        reprocess=reprocess,
        conf=conf,
    )
    if dry_run:
        _plan(context, request, output)
    else:
        _make(context, request, output, is_waiting=not detach)


def _plan(context: CommandContext, request: "BackfillRequest", output: str) -> None:
    runs = context.ask(lambda server: server.backfills.plan(request))
    rows = [
        {
            "logical_date": run.slot.start,
            "data_interval_end": run.slot.end,
            "partition_key": run.slot.partition_key,
            "run_id": run.slot.run_id,
            "left_out": run.reason,
        }
        for run in runs
    ]
    if output == "json":
        print_json(rows)
        return
    print_table(list(rows[0]) if rows else ["logical_date"], rows)
    made = sum(run.reason is None for run in runs)
    click.echo(f"{made} runs would be made, {len(runs) - made} left out.", err=True)


def _make(
    context: CommandContext,
    request: "BackfillRequest",
    output: str,
    *,
    is_waiting: bool,
) -> None:
    name = context.ask(lambda server: server.backfills.start(request))
    if not is_waiting:
        if output == "json":
            print_json({"dag_id": request.dag_id, "workflow_id": name})
        else:
            click.echo(f"Started {name}")
        return
    shown = _Shown(is_text=output == "text")
    try:
        ended = context.ask(
            lambda server: server.backfills.watch(request.dag_id, shown)
        )
    except KeyboardInterrupt as err:
        raise Interrupted(
            f"The backfill goes on. End it: appliance backfill {request.dag_id} --cancel"
        ) from err
    if output == "json":
        print_json(asdict(ended))
    else:
        shown(ended)
    for error in ended.errors:
        click.echo(error, err=True)
    if ended.failed:
        raise click.exceptions.Exit(1)


class _Shown:
    """Prints progress whenever it is another one."""

    def __init__(self, *, is_text: bool) -> None:
        self._is_text = is_text
        self._last: BackfillProgress | None = None

    def __call__(self, progress: "BackfillProgress") -> None:
        if progress == self._last or not self._is_text:
            return
        self._last = replace(progress)
        ended = progress.succeeded + progress.failed
        total = ended + progress.running + progress.waiting
        click.echo(
            f"{ended} of {total} runs have ended: {progress.succeeded} success, "
            f"{progress.failed} failed; {progress.running} under way, "
            f"{progress.skipped} left out"
        )
