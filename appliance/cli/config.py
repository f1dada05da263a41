"""The commands ``appliance config``: check, show and describe the configuration without starting anything."""

import click

from appliance.cli.command import Group
from appliance.cli.context import CommandContext, pass_context


@click.group(cls=Group)
def config() -> None:
    """Check the configuration, show what is in force, or help an editor."""


@config.command(epilog="Example: appliance config check")
@pass_context
def check(context: CommandContext, /) -> None:
    """Say what is wrong with the configuration, and where."""
    found = context.load()
    for warning in (*found.warnings, *found.notes):
        click.echo(warning, err=True)
    click.echo(
        f"{found.origin}: no problems, {len(found.secrets.connections)} connections, "
        f"{len(found.secrets.variables)} variables"
    )


@config.command(epilog="Example: appliance config show")
@pass_context
def show(context: CommandContext, /) -> None:
    """Print the configuration in force, secrets masked."""
    from appliance.config.show import show as shown

    click.echo(shown(context.load()), nl=False)


@config.command(epilog="Example: appliance config schema > appliance.schema.json")
def schema() -> None:
    """Print a JSON Schema of the configuration, for editors."""
    import json

    from appliance.config.json_schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
