"""The commands ``respond``, ``approve`` and ``reject``, by which a person answers a task that asks."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from appliance.cli.command import Command
from appliance.cli.context import CommandContext, Server, pass_context
from appliance.cli.lookup import find
from appliance.cli.param_types import json_object

_F = TypeVar("_F", bound=Callable[..., Any])


def _question(command: _F) -> _F:
    """Name the task that asks, and who answers."""
    for decorate in (
        click.option(
            "--user",
            metavar="ID",
            help="Answer as this user; by default as you are logged in.",
        ),
        click.option(
            "--params",
            metavar="JSON",
            callback=json_object,
            help="What the question's params are to be, or @FILE.",
        ),
        click.option(
            "--map-index", type=int, default=-1, help="Which mapped instance asks."
        ),
        click.argument("task_id"),
        click.argument("run_id"),
        click.argument("dag_id"),
    ):
        command = decorate(command)
    return command


@click.command(
    cls=Command, epilog="Example: appliance respond my_dag RUN_ID ask --choose Yes"
)
@click.option(
    "--choose",
    "chosen",
    metavar="OPTION",
    multiple=True,
    required=True,
    help="The answer; several times if several may be chosen.",
)
@_question
@pass_context
def respond(
    context: CommandContext, /, *, chosen: tuple[str, ...], **where: Any
) -> None:
    """Answer the question of a human-in-the-loop task."""
    _answer(context, chosen, **where)


@click.command(cls=Command, epilog="Example: appliance approve my_dag RUN_ID ask")
@_question
@pass_context
def approve(context: CommandContext, /, **where: Any) -> None:
    """Answer "Approve" to an ApprovalOperator."""
    _answer(context, ("Approve",), **where)


@click.command(cls=Command, epilog="Example: appliance reject my_dag RUN_ID ask")
@_question
@pass_context
def reject(context: CommandContext, /, **where: Any) -> None:
    """Answer "Reject" to an ApprovalOperator."""
    _answer(context, ("Reject",), **where)


def _answer(
    context: CommandContext,
    chosen: tuple[str, ...],
    *,
    dag_id: str,
    run_id: str,
    task_id: str,
    map_index: int,
    params: dict[str, Any],
    user: str | None,
) -> None:
    import getpass

    from appliance.runs.messages import Response

    response = Response(
        task_id=task_id,
        map_index=map_index,
        chosen_options=chosen,
        params_input=params,
        user_id=user or getpass.getuser(),
    )

    async def send(server: Server) -> None:
        await server.respond(await find(server, dag_id, run_id), response)

    context.ask(send)
    click.echo(f"{task_id} goes on with {', '.join(chosen)}.")
