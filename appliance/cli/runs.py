"""The commands ``appliance runs``, ``cancel`` and ``xcoms``: list runs, wait for them, end them."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from appliance.cli.command import Command, Group
from appliance.cli.context import START_S, CommandContext, Server, pass_context
from appliance.cli.lookup import find, require_dag
from appliance.cli.output import output_option, print_json, print_table
from appliance.cli.param_types import SECONDS

if TYPE_CHECKING:
    from appliance.runs.reports import RunReport, RunRow
    from appliance.sockets.submit_request import Submitted

RUN_COLUMNS = (
    "dag_id",
    "run_id",
    "state",
    "run_type",
    "logical_date",
    "start_date",
    "end_date",
)
MOST_CHARS = 200
"""Of a value in the table; all of it is in ``-o json``."""
XCOM_COLUMNS = ("task_id", "map_index", "key", "value")


@click.group(cls=Group)
def runs() -> None:
    """List runs, or wait for one."""


@runs.command("list", epilog="Example: appliance runs list my_dag -o json")
@click.argument("dag_id")
@output_option
@pass_context
def list_runs(context: CommandContext, /, *, dag_id: str, output: str) -> None:
    """List the runs of DAG_ID, newest first."""

    async def look(server: Server) -> "list[RunRow]":
        rows = await server.runs(dag_id)
        if not rows:
            await require_dag(server, dag_id)
        return rows

    found = context.ask(look)
    rows = [{"dag_id": dag_id, **asdict(row)} for row in found]
    if output == "json":
        print_json(rows)
    elif rows:
        print_table(RUN_COLUMNS, rows)
    else:
        click.echo(f"No runs of {dag_id}. Start one: submit {dag_id}", err=True)


@runs.command(epilog="Example: appliance runs wait my_dag RUN_ID --timeout 600")
@click.argument("dag_id")
@click.argument("run_id")
@click.option(
    "--timeout",
    metavar="S",
    type=SECONDS,
    help="Stop waiting after S seconds; the run goes on.",
)
@output_option
@pass_context
def wait(
    context: CommandContext,
    /,
    *,
    dag_id: str,
    run_id: str,
    timeout: float | None,
    output: str,
) -> None:
    """Wait for the end of a run; print and exit as 'submit --wait' does."""
    import asyncio

    from appliance.cli.submission import conclude
    from appliance.cli.waiting import wait_for

    config = context.settings()

    async def ended() -> "RunReport":
        async with context.connect(config, wait_s=START_S) as server:
            run = await known(server, dag_id, run_id)
            return await wait_for(server, run, timeout_s=timeout)

    conclude(asyncio.run(ended()), output)


@click.command(cls=Command, epilog="Example: appliance cancel my_dag RUN_ID")
@click.argument("dag_id")
@click.argument("run_id")
@pass_context
def cancel(context: CommandContext, /, *, dag_id: str, run_id: str) -> None:
    """End a run and its running tasks."""

    async def end(server: Server) -> None:
        await server.cancel(await find(server, dag_id, run_id))

    context.ask(end)
    click.echo(
        f"Asked {run_id} to end. See it end: appliance runs wait {dag_id} {run_id}"
    )


@click.command(cls=Command, epilog="Example: appliance xcoms my_dag RUN_ID -o json")
@click.argument("dag_id")
@click.argument("run_id")
@output_option
@pass_context
def xcoms(context: CommandContext, /, *, dag_id: str, run_id: str, output: str) -> None:
    """Print what the tasks of a run pushed."""

    async def pushed(server: Server) -> list[dict[str, Any]]:
        return await server.xcoms(await find(server, dag_id, run_id))

    rows = context.ask(pushed)
    if output == "json":
        print_json([{name: row[name] for name in XCOM_COLUMNS} for row in rows])
        return
    shown = [
        {
            **row,
            "map_index": None if row["map_index"] < 0 else row["map_index"],
            "value": _cut(json.dumps(row["value"], ensure_ascii=False)),
        }
        for row in rows
    ]
    print_table(XCOM_COLUMNS, shown)


def _cut(text: str) -> str:
    if len(text) <= MOST_CHARS:
        return text
    return f"{text[:MOST_CHARS]}... ({len(text) - MOST_CHARS} more, see -o json)"


async def known(server: Server, dag_id: str, run_id: str) -> "Submitted":
    """Find a run. Raises: DagError when there is none."""
    report = await server.report(await find(server, dag_id, run_id))
    from appliance.sockets.submit_request import Submitted

    return Submitted(
        dag_id=dag_id,
        run_id=run_id,
        workflow_id=report.workflow_id,
        url=report.url,
    )
