"""Commands that look at the DAG folder, as a worker reads it."""

from dataclasses import asdict

import click

from appliance.cli.box import Box, pass_box
from appliance.cli.command import Group
from appliance.cli.output import output_option, print_json, print_table

DAG_COLUMNS = ("dag_id", "file", "owners", "schedule", "description")


@click.group(cls=Group)
def dags() -> None:
    """List DAGs, or the files that cannot be read."""


@dags.command("list", epilog="Example: appliance dags list")
@output_option
@pass_box
def list_dags(box: Box, /, *, output: str) -> None:
    """List the DAGs of the folder."""
    listing = box.ask(lambda server: server.dags())
    if output == "json":
        print_json([asdict(row) for row in listing.dags])
    else:
        print_table(
            DAG_COLUMNS,
            [{**asdict(row), "owners": ", ".join(row.owners)} for row in listing.dags],
        )
    if listing.errors:
        click.echo(
            f"{len(listing.errors)} file(s) cannot be read; see: appliance dags errors",
            err=True,
        )


@dags.command(epilog="Example: appliance dags errors -o json")
@output_option
@pass_box
def errors(box: Box, /, *, output: str) -> None:
    """List the DAG files that cannot be read, and why; exits 1 when there are any, as Airflow does."""
    found = box.ask(lambda server: server.dags()).errors
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
