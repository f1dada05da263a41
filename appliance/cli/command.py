"""The click classes of the commands: exit codes, and errors shown as text on stderr.

0 success, 1 the run failed, 2 usage, configuration or DAG, 3 Temporal unreachable, 124 ``--timeout`` passed,
130 Ctrl-C. Errors of ``appliance.errors`` are shown as text; any other exception is a bug and keeps its traceback.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from appliance.errors import ApplianceError


class Interrupted(ApplianceError):
    """Ctrl-C; the text says what goes on without us."""

    exit_code = 130


@contextmanager
def shown() -> Iterator[None]:
    """Show errors of ours as text, which says what, where and what to do; and Ctrl-C in a word."""
    try:
        yield
    except ApplianceError as err:
        if str(err):
            click.echo(str(err), err=True)
        raise click.exceptions.Exit(err.exit_code) from err
    except KeyboardInterrupt as err:
        click.echo("Interrupted.", err=True)
        raise click.exceptions.Exit(Interrupted.exit_code) from err


class Command(click.Command):
    """A command that shows errors and ends as the docstring of this module says."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse arguments that are no UTF-8 text, as no server would take them."""
        for word in args:
            try:
                word.encode()
            except UnicodeEncodeError as err:
                raise click.UsageError(f"{word!a} is not UTF-8 text.", ctx) from err
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with shown():
            return super().invoke(ctx)


class Group(click.Group):
    """A group of ``Command``, listed in the order they were added."""

    command_class = Command
    group_class = type

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order of a first day with the appliance, not of the alphabet."""
        return list(self.commands)
