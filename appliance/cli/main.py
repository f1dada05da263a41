"""The command ``appliance`` with all its subcommands."""

import click

from appliance.cli.appliance_commands import down, health, prepare, up, version, worker
from appliance.cli.backfill import backfill
from appliance.cli.command import Group
from appliance.cli.config import config
from appliance.cli.dags import dags
from appliance.cli.demo import demo
from appliance.cli.hitl import approve, reject, respond
from appliance.cli.keys import key
from appliance.cli.logs import logs
from appliance.cli.once import once
from appliance.cli.runs import cancel, runs, xcoms
from appliance.cli.schedules import schedules
from appliance.cli.submission import submit

EPILOG = """\b
Example, in two terminals:
  appliance up
  submit my_dag --follow
"""


@click.group(cls=Group, epilog=EPILOG)
def appliance() -> None:
    """Run standard Airflow DAG files on Temporal."""


for command in (
    up,
    submit,
    logs,
    runs,
    xcoms,
    cancel,
    respond,
    approve,
    reject,
    dags,
    schedules,
    backfill,
    config,
    key,
    health,
    worker,
    prepare,
    down,
    once,
    demo,
    version,
):
    appliance.add_command(command)
