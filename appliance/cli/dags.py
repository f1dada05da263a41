"""The commands ``appliance dags``: list, show and pause DAGs, their next runs, and import errors."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from appliance.cli.command import Group
from appliance.cli.context import CommandContext, Server, pass_context
from appliance.cli.lookup import no_dag
from appliance.cli.output import output_option, print_json, print_table
from appliance.cli.schedules import next_runs, print_coming, print_steered
from appliance.errors import DagError

if TYPE_CHECKING:
    from appliance.dagfile.models import ListedDag, Listing
    from appliance.schedules.messages import ScheduleRow, Verb

DAG_COLUMNS = ("dag_id", "file", "owners", "schedule", "is_paused", "description")


@click.group(cls=Group)
def dags() -> None:
    """List DAGs, or the files that cannot be read."""


@dags.command("list", epilog="Example: appliance dags list")
@output_option
@pass_context
def list_dags(context: CommandContext, /, *, output: str) -> None:
    """List the DAGs of the folder."""

    async def look(server: Server) -> "tuple[Listing, dict[str, ScheduleRow]]":
        return await server.dags(), await _schedules(server)

    listing, known = context.ask(look)
    rows = [_listed(row, known.get(row.dag_id)) for row in listing.dags]
    if output == "json":
        print_json(rows)
    else:
        shown = [{**row, "owners": ", ".join(row["owners"])} for row in rows]
        print_table(DAG_COLUMNS, shown)
    if listing.errors:
        click.echo(
            f"{len(listing.errors)} file(s) cannot be read; see: appliance dags errors",
            err=True,
        )


@dags.command(epilog="Example: appliance dags show my_dag")
@click.argument("dag_id")
@output_option
@pass_context
def show(context: CommandContext, /, *, dag_id: str, output: str) -> None:
    """Show what is known of a DAG: its file, its schedule, whether it is paused, its params."""

    async def look(server: Server) -> dict[str, Any]:
        found = _find(await server.dags(), dag_id)
        rows = await _schedules(server)
        own = rows.get(dag_id)
        return {
            **asdict(found),
            "is_paused": own.state == "paused" if own else None,
            "next_run": own.next_run if own else None,
            "last_run": own.last_run if own else None,
            "catchup": own.catchup if own else None,
            "start_date": own.start_date if own else None,
            "end_date": own.end_date if own else None,
            "schedules": [row.name for row in rows.values() if row.dag_id == dag_id],
        }

    facts = context.ask(look)
    facts.pop("timing")
    if output == "json":
        print_json(facts)
        return
    params = facts.pop("params")
    for label, value in facts.items():
        if value not in (None, [], (), ""):
            text = ", ".join(value) if isinstance(value, list | tuple) else value
            click.echo(f"{label:<11} {text}")
    for line in _params(params):
        click.echo(line)


def _params(params: dict[str, dict[str, Any]]) -> list[str]:
    """Write a line per param: its name, what it may be, its default or that it has none."""
    lines: list[str] = []
    for name, facts in params.items():
        default = json.dumps(facts["default"], ensure_ascii=False)
        is_set = facts["default"] is not None or not facts["is_required"]
        parts = [
            facts["allowed"],
            f"default {default}" if is_set else "",
            "required" if facts["is_required"] else "",
        ]
        about = f": {facts['description']}" if facts["description"] else ""
        label = "" if lines else "params"
        lines.append(f"{label:<11} {name} ({', '.join(filter(None, parts))}){about}")
    return lines


@dags.command(epilog="Example: appliance dags pause my_dag")
@click.argument("dag_ids", nargs=-1, required=True)
@output_option
@pass_context
def pause(context: CommandContext, /, *, dag_ids: tuple[str, ...], output: str) -> None:
    """Start no more runs by the schedules of DAGs; submitting them still works."""
    _steer(context, "pause", dag_ids, output)


@dags.command(epilog="Example: appliance dags unpause my_dag")
@click.argument("dag_ids", nargs=-1, required=True)
@output_option
@pass_context
def unpause(
    context: CommandContext, /, *, dag_ids: tuple[str, ...], output: str
) -> None:
    """Let the schedules of DAGs start runs; missed ones follow catchup."""
    _steer(context, "resume", dag_ids, output)


@dags.command("next", epilog="Example: appliance dags next my_dag -n 10")
@click.argument("dag_id")
@click.option("-n", "--number", default=1, show_default=True, help="How many.")
@output_option
@pass_context
def next_(context: CommandContext, /, *, dag_id: str, number: int, output: str) -> None:
    """Show when a DAG's own schedule makes its next runs, paused or not."""

    async def ask(server: Server) -> list[dict[str, Any]]:
        row = (await _schedules(server)).get(dag_id)
        if row is None:
            _find(await server.dags(), dag_id)
            raise DagError(f"{dag_id} has no schedule of its own.")
        return await next_runs(server, row, number)

    found = context.ask(ask)
    if output == "json":
        print_json(found)
    elif found:
        print_coming(found)
    else:
        click.echo(f"No more runs of {dag_id}.", err=True)


@dags.command(epilog="Example: appliance dags errors -o json")
@output_option
@pass_context
def errors(context: CommandContext, /, *, output: str) -> None:
    """List the DAG files that cannot be read, and why; exits 1 when there are any, as Airflow does."""
    found = context.ask(lambda server: server.dags()).errors
    if output == "json":
        print_json([asdict(row) for row in found])
    for row in found if output == "text" else ():
        where = row.file if row.line is None else f"{row.file}:{row.line}"
        click.echo(f"{where}\n{_indented(row.error)}")
    if found:
        raise click.exceptions.Exit(1)
    if output == "text":
        click.echo("Every DAG file can be read.", err=True)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.rstrip().splitlines())


def _steer(
    context: CommandContext, verb: "Verb", dag_ids: tuple[str, ...], output: str
) -> None:
    """Steer every schedule of some DAGs, that of the file and those of appliance.yaml."""

    async def ask(server: Server) -> list[str]:
        rows = (await _schedules(server)).values()
        names: list[str] = []
        for dag_id in dag_ids:
            own = [row.name for row in rows if row.dag_id == dag_id]
            if not own:
                _find(await server.dags(), dag_id)
                raise DagError(f"{dag_id} has no schedule.")
            names += own
        await server.scheduling.steer(verb, names)
        return names

    names = context.ask(ask)
    word = "Paused" if verb == "pause" else "Unpaused"
    print_steered(verb, names, word, output)


async def _schedules(server: Server) -> "dict[str, ScheduleRow]":
    return {row.name: row for row in (await server.scheduling.schedules()).rows}


def _find(listing: "Listing", dag_id: str) -> "ListedDag":
    """Return a DAG of the folder.

    Raises:
        DagError: there is none.
    """
    for row in listing.dags:
        if row.dag_id == dag_id:
            return row
    raise no_dag(dag_id, [row.dag_id for row in listing.dags])


def _listed(row: "ListedDag", own: "ScheduleRow | None") -> dict[str, Any]:
    facts = asdict(row)
    del facts["timing"], facts["params"]  # much; of one DAG, `dags show` has them
    return {**facts, "is_paused": own.state == "paused" if own else None}
