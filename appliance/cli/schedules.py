"""The commands ``appliance schedules``: list, show, pause, resume and trigger schedules."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from appliance.cli.command import Group
from appliance.cli.context import CommandContext, Server, pass_context
from appliance.cli.lookup import near
from appliance.cli.output import output_option, print_json, print_table
from appliance.cli.param_types import json_object
from appliance.errors import DagError

if TYPE_CHECKING:
    from appliance.schedules.messages import ScheduleList, ScheduleRow, Verb

COLUMNS = ("name", "dag_id", "schedule", "state", "next_run", "last_run", "source")


@click.group(cls=Group)
def schedules() -> None:
    """List schedules and steer them: of DAG files, and of appliance.yaml."""


@schedules.command("list", epilog="Example: appliance schedules list")
@output_option
@pass_context
def list_schedules(context: CommandContext, /, *, output: str) -> None:
    """List all schedules, and what keeps others from being one."""
    found = context.ask(lambda server: server.scheduling.schedules())
    if output == "json":
        print_json([asdict(row) for row in found.rows])
    elif found.rows:
        print_table(COLUMNS, [asdict(row) for row in found.rows])
        _tell_of_paused(found)
    else:
        click.echo("No DAG file and no line of appliance.yaml has one.", err=True)
    notes = [f"{row.name}: {row.note}" for row in found.rows if row.note]
    for problem in (*notes, *found.problems):
        click.echo(problem, err=True)


@schedules.command(epilog="Example: appliance schedules show my_dag -n 10")
@click.argument("name")
@click.option(
    "-n", "--number", default=5, show_default=True, help="How many next runs."
)
@output_option
@pass_context
def show(context: CommandContext, /, *, name: str, number: int, output: str) -> None:
    """Show one schedule and its next runs."""
    row, coming = context.ask(lambda server: _with_next(server, name, number))
    if output == "json":
        print_json({**asdict(row), "next_runs": coming})
        return
    for label, value in asdict(row).items():
        if value not in (None, {}, ""):
            click.echo(f"{label:<11} {value}")
    if coming:
        click.echo()
    print_coming(coming)


@schedules.command(epilog="Example: appliance schedules pause nightly")
@click.argument("names", nargs=-1, required=True)
@output_option
@pass_context
def pause(context: CommandContext, /, *, names: tuple[str, ...], output: str) -> None:
    """Start no more runs of these schedules; those under way go on."""
    _steer(context, "pause", names, output)


@schedules.command(epilog="Example: appliance schedules resume nightly")
@click.argument("names", nargs=-1, required=True)
@output_option
@pass_context
def resume(context: CommandContext, /, *, names: tuple[str, ...], output: str) -> None:
    """Go on with these schedules; missed runs follow the schedule's catchup."""
    _steer(context, "resume", names, output)


@schedules.command(
    epilog="Example: appliance schedules trigger nightly --conf '{\"day\": 1}'"
)
@click.argument("name")
@click.option(
    "--conf",
    callback=json_object,
    metavar="JSON",
    help="Instead of the schedule's own.",
)
@output_option
@pass_context
def trigger(
    context: CommandContext, /, *, name: str, conf: dict[str, Any], output: str
) -> None:
    """Start a run of a schedule now, paused or not."""
    started = context.ask(
        lambda server: server.scheduling.steer("trigger", (name,), conf or None)
    )
    if output == "json":
        print_json(started)
    for run_id in started.values() if output == "text" else ():
        click.echo(f"Started {run_id}")


def print_steered(verb: "Verb", names: Sequence[str], word: str, output: str) -> None:
    """Say which schedules were paused or resumed."""
    if output == "json":
        state = "paused" if verb == "pause" else "active"
        print_json([{"name": name, "state": state} for name in names])
    else:
        click.echo(f"{word}: {', '.join(names)}")


def _steer(
    context: CommandContext, verb: "Verb", names: tuple[str, ...], output: str
) -> None:
    context.ask(lambda server: server.scheduling.steer(verb, names))
    print_steered(verb, names, f"{verb.capitalize()}d", output)


async def _with_next(
    server: Server, name: str, number: int
) -> "tuple[ScheduleRow, list[dict[str, Any]]]":
    row = find((await server.scheduling.schedules()).rows, name)
    return row, await next_runs(server, row, number)


async def next_runs(
    server: Server, row: "ScheduleRow", number: int
) -> list[dict[str, Any]]:
    """Return the next runs of a schedule, paused or not."""
    slots = await server.scheduling.coming(row, number)
    return [
        {
            "run_after": slot.run_after,
            "logical_date": slot.start,
            "data_interval_start": slot.start,
            "data_interval_end": slot.end,
            "partition_key": slot.partition_key,
        }
        for slot in slots
    ]


def find(rows: "list[ScheduleRow]", name: str) -> "ScheduleRow":
    """Return a schedule by its name.

    Raises:
        DagError: there is none.
    """
    for row in rows:
        if row.name == name:
            return row
    hint = near(name, [row.name for row in rows]) or " See: appliance schedules list"
    raise DagError(f"There is no schedule {name!r}.{hint}")


def print_coming(coming: list[dict[str, Any]]) -> None:
    """Print runs to come as a table."""
    if not coming:
        return
    columns = list(coming[0])
    if all(run["partition_key"] is None for run in coming):
        columns.remove("partition_key")
    print_table(columns, coming)


def _tell_of_paused(found: "ScheduleList") -> None:
    paused = [row.name for row in found.rows if row.state == "paused"]
    if paused:
        click.echo(
            f"{len(paused)} paused. Start one: appliance schedules resume {paused[0]}. "
            "To have all begin active: dags.schedules: active in appliance.yaml.",
            err=True,
        )
