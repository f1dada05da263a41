"""``submit``: starts one run of a DAG, by command or as the coroutine ``appliance.submit_dag``."""

import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from appliance.cli.command import Command, Interrupted
from appliance.cli.context import START_S, CommandContext, Server, pass_context
from appliance.cli.output import output_option, print_json, print_report
from appliance.cli.param_types import NO_TIME, SECONDS, json_object, moment_or_none
from appliance.dagrun.states import RunState, TaskState
from appliance.errors import RunFailed, UsageError

if TYPE_CHECKING:  # submit --help must be instant.
    from appliance.cli.waiting import LiveAccount
    from appliance.config.model import Config, Secrets
    from appliance.runs.reports import RunReport
    from appliance.sockets.submit_request import SubmitRequest, Submitted

EPILOG = """\b
Examples:
  submit my_dag
  submit my_dag --follow
  submit dags/my_dag.py
  submit etl --conf '{"day": "2026-01-31"}' --wait --timeout 600 -o json
  submit etl --connections staging.json --logical-date 2026-01-31

\b
Exit codes: 0 success, 1 the run failed, 2 usage, configuration or DAG,
  3 Temporal unreachable, 124 --timeout passed, 130 Ctrl-C (124 and 130
  leave the run going).
"""


@click.command(cls=Command, epilog=EPILOG)
@click.argument("dag_id")
@click.option(
    "--dag-file",
    metavar="FILE",
    help="Read the DAG from this file of the DAG folder instead of looking its id up.",
)
@click.option(
    "--conf",
    metavar="JSON|@FILE",
    callback=json_object,
    help="dag_run.conf and params of the run, a JSON object.",
)
@click.option(
    "--logical-date",
    metavar="TIME",
    callback=moment_or_none,
    help="Logical date of the run, ISO 8601; UTC without a zone. 'none': without one.",
)
@click.option("--run-id", metavar="ID", help="Default: manual__<time>.")
@click.option(
    "--connections",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Connections of this run alone: 'airflow connections export' or a mapping.",
)
@click.option(
    "--variables",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Variables of this run alone: 'airflow variables export' or a mapping.",
)
@click.option("--wait", is_flag=True, help="Wait for the end; print states, duration.")
@click.option(
    "--follow", is_flag=True, help="Wait, printing task states and logs as they come."
)
@click.option(
    "--timeout",
    metavar="S",
    type=SECONDS,
    help="Stop waiting after S seconds; the run goes on.",
)
@output_option
@pass_context
def submit(
    context: CommandContext,
    /,
    *,
    dag_id: str,
    logical_date: str | None,
    connections: Path | None,
    variables: Path | None,
    wait: bool,
    follow: bool,
    timeout: float | None,
    output: str,
    **asked: Any,
) -> None:
    """Start one run of a DAG; print where to watch it."""
    from appliance.sockets.submit_client import submit_here
    from appliance.sockets.submit_request import SubmitRequest

    if timeout is not None and not (wait or follow):
        raise UsageError("--timeout is for waiting: add --wait or --follow.")
    # Named before anybody is asked: whoever is asked after him starts the same run.
    request = SubmitRequest(
        dag_id=_absolute(dag_id),
        secrets=_secrets(connections, variables),
        **_dated(logical_date),
        **asked,
    ).named(_now())
    how = How(wait=wait or follow, follow=follow, timeout_s=timeout, output=output)
    config = context.settings()
    try:
        run = submit_here(config, request)
    except KeyboardInterrupt as err:
        raise Interrupted(f"Interrupted. {request.in_doubt}") from err
    if run is not None:
        _announce(run, how)
        if not how.wait:
            return
    import asyncio

    asyncio.run(_submit(context, config, request, how, run))


@dataclass(frozen=True, slots=True)
class How:
    """What a call of ``submit`` does after the run has started."""

    wait: bool
    follow: bool
    timeout_s: float | None
    output: str


async def submit_dag(
    dag_id: str,
    *,
    dag_file: str | None = None,
    conf: dict[str, Any] | None = None,
    logical_date: str | None = None,
    run_id: str | None = None,
    connections: Path | None = None,
    variables: Path | None = None,
    wait: bool = False,
    timeout_s: float | None = None,
    config: "Config | None" = None,
) -> "RunReport":
    """Start one run of a DAG, as the command ``submit`` does.

    Args:
        dag_id: The DAG to run.
        dag_file: Read the DAG from this file of the DAG folder instead of looking its id up.
        conf: ``dag_run.conf`` and params of the run.
        logical_date: ISO 8601 with a zone; ``"none"``: the run has none; None: now.
        run_id: Made in Airflow's form when None.
        connections: File with connections of this run alone, in the formats of ``submit --connections``.
        variables: File with variables of this run alone.
        wait: Return when the run has ended, whether in success or not; see ``state``.
        timeout_s: Stop waiting after so long; the run goes on.
        config: Read from the environment and ``appliance.yaml`` when None.

    Returns:
        How the run ended, or with ``wait`` false that it is queued.

    Raises:
        DagError: The DAG cannot be run, or the run id is used already.
        TemporalUnreachable: No server, or no worker, answered within 30 s.
        WaitTimeout: ``timeout_s`` passed.
    """
    from appliance.cli.waiting import wait_for
    from appliance.runs.reports import RunReport
    from appliance.sockets.submit_request import SubmitRequest
    from appliance.temporal.sdk_threads import parting

    context = CommandContext()
    request = SubmitRequest(
        dag_id=dag_id,
        dag_file=dag_file,
        conf=conf or {},
        **_dated(logical_date),
        run_id=run_id,
        secrets=_secrets(connections, variables),
    ).named(_now())
    connection = context.connect(config or context.settings(), wait_s=START_S)
    async with parting(), connection as server:
        run = await server.submit(request)
        if wait:
            return await wait_for(server, run, timeout_s=timeout_s)
    return RunReport(
        dag_id=run.dag_id,
        run_id=run.run_id,
        workflow_id=run.workflow_id,
        state=RunState.QUEUED,
        url=run.url,
    )


async def _submit(
    context: CommandContext,
    config: "Config",
    request: "SubmitRequest",
    how: How,
    run: "Submitted | None",
) -> None:
    from appliance.cli.waiting import wait_for

    async with context.connect(config, wait_s=START_S) as server:
        if run is None:
            run = await _start(server, request)
            _announce(run, how)
        if not how.wait:
            return
        look = _live_account(config, run, how).look if how.follow else None
        report = await wait_for(server, run, timeout_s=how.timeout_s, look=look)
    conclude(report, how.output)


async def _start(server: Server, request: "SubmitRequest") -> "Submitted":
    import asyncio

    try:
        return await server.submit(request)
    except asyncio.CancelledError as err:
        raise Interrupted(f"Interrupted. {request.in_doubt}") from err


def _announce(run: "Submitted", how: How) -> None:
    if how.output == "json" and not how.wait:
        print_json(asdict(run))
        return
    # The one object of -o json is the report; until then we talk on stderr.
    for name, value in (
        ("run", run.run_id),
        ("workflow", run.workflow_id),
        ("UI", run.url),
    ):
        if value:
            click.echo(f"{name:<9} {value}", err=how.output == "json")


def conclude(report: "RunReport", output: str) -> None:
    """Print how a run ended. Raises: RunFailed, with the command that shows why."""
    if output == "json":
        print_json(asdict(report))
    else:
        print_report(report)
    if report.state != RunState.SUCCESS:
        raise RunFailed("" if output == "json" else _where_to_look(report))


def _where_to_look(report: "RunReport") -> str:
    for row in report.tasks:
        if row.state == TaskState.FAILED:
            which = "" if row.map_index < 0 else f" --map-index {row.map_index}"
            return (
                f"See why: appliance logs {report.dag_id} {report.run_id} "
                f"{row.task_id}{which}"
            )
    return f"See why: {report.url or f'the workflow {report.workflow_id}'}"


def _live_account(config: "Config", run: "Submitted", how: How) -> "LiveAccount":
    from appliance.cli.log_tail import LogTail
    from appliance.cli.waiting import LiveAccount

    def say(text: str) -> None:
        click.echo(text, err=how.output == "json")

    tail = LogTail(config.data, dag_id=run.dag_id, run_id=run.run_id)
    return LiveAccount(say=say, tail=tail)


def _now() -> str:
    return datetime.now(UTC).isoformat()  # noqa: TID251  # the edge that takes the time


def _absolute(dag_id: str) -> str:
    """Name a file that is typed where a DAG id belongs so that a worker finds it, too."""
    is_path = dag_id.endswith((".py", ".zip")) and Path(dag_id).is_file()
    return str(Path(dag_id).absolute()) if is_path else dag_id


def _dated(logical_date: str | None) -> dict[str, Any]:
    """Return the fields of a request that say which logical date the run has."""
    if logical_date == NO_TIME:
        return {"is_dated": False}
    return {"logical_date": logical_date}


def _secrets(connections: Path | None, variables: Path | None) -> "Secrets | None":
    if connections is None and variables is None:
        return None
    from appliance.config.airflow_formats.exports import (
        read_connections,
        read_variables,
    )
    from appliance.config.model import Secrets

    return Secrets(
        connections=read_connections(connections, environ=os.environ)
        if connections
        else {},
        variables=read_variables(variables, environ=os.environ) if variables else {},
    )
