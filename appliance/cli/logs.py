"""The command ``appliance logs``: what the tasks of a run wrote."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from appliance.cli.command import Command
from appliance.cli.context import START_S, CommandContext, pass_context
from appliance.cli.log_tail import LogTail
from appliance.cli.lookup import near
from appliance.cli.output import output_option
from appliance.errors import ConfigError, DagError

if TYPE_CHECKING:
    from appliance.config.model import Config
    from appliance.runs.reports import RunReport

EPILOG = """\b
Examples:
  appliance logs my_dag manual__2026-01-31T09:00:00+00:00
  appliance logs my_dag RUN_ID load --map-index 3 --try 2
"""


@click.command(cls=Command, epilog=EPILOG)
@click.argument("dag_id")
@click.argument("run_id")
@click.argument("task_id", required=False)
@click.option(
    "--map-index", metavar="I", type=int, help="This instance of a mapped task."
)
@click.option("--try", "try_number", metavar="N", type=int, help="This try.")
@click.option("--follow", is_flag=True, help="Print lines as they come, until the end.")
@output_option
@pass_context
def logs(
    context: CommandContext,
    /,
    *,
    dag_id: str,
    run_id: str,
    task_id: str | None,
    map_index: int | None,
    try_number: int | None,
    follow: bool,
    output: str,
) -> None:
    """Print the logs of a run, of one of its tasks, or of one try; as JSON, an event a line."""
    config = context.settings()
    tail = LogTail(
        config.data,
        dag_id=dag_id,
        run_id=run_id,
        task_id=task_id,
        map_index=map_index,
        try_number=try_number,
        is_raw=output == "json",
    )
    if follow:
        _follow(context, config, tail, dag_id=dag_id, run_id=run_id)
        return
    nothing = True
    for line in tail.lines():
        nothing = False
        click.echo(line)
    if nothing:
        from appliance.config.file_access import closed, denied

        if shut := closed(config.data / "logs"):
            raise ConfigError(denied(shut, "read", tail.folder))
        if hint := _meant(tail.folder, task_id):
            raise DagError(f"{tail.folder}: no such log.{hint}")
        raise DagError(
            f"{tail.folder}: no such log. The task has not started, has no such try, or "
            "ran on an appliance with another data folder.\n"
            f"See the run: appliance runs wait {dag_id} {run_id} --timeout 1"
        )


def _meant(run: Path, task_id: str | None) -> str:
    """Propose what is like the first of DAG, run and task that has no folder."""
    task = [] if task_id is None else [run / f"task_id={task_id}"]
    for folder in (run.parent, run, *task):
        if not folder.is_dir():
            kind, _, name = folder.name.partition("=")
            there = [path.name for path in folder.parent.glob(f"{kind}=*")]
            return near(name, [other.partition("=")[2] for other in there])
    return ""


def _follow(
    context: CommandContext,
    config: "Config",
    tail: LogTail,
    *,
    dag_id: str,
    run_id: str,
) -> None:
    import asyncio

    from appliance.cli.runs import known
    from appliance.cli.waiting import wait_for

    def look(report: "RunReport") -> None:
        for line in tail.lines():
            click.echo(line)

    async def until_end() -> None:
        async with context.connect(config, wait_s=START_S) as server:
            run = await known(server, dag_id, run_id)
            await wait_for(server, run, timeout_s=None, look=look)

    asyncio.run(until_end())
