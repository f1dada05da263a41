"""Commands that look at the configuration without starting anything."""

import click

from appliance.cli.box import Box, pass_box
from appliance.cli.command import Group


@click.group(cls=Group)
def config() -> None:
    """Check the configuration, or show what is in force."""


@config.command(epilog="Example: appliance config check")
@pass_box
def check(box: Box, /) -> None:
    """Say what is wrong with the configuration, and where."""
    found = box.load()
    for warning in found.warnings:
        click.echo(warning, err=True)
    file = found.file if found.file.exists() else f"{found.file} (not there; defaults)"
    click.echo(
        f"{file}: no problems, {len(found.secrets.connections)} connections, "
        f"{len(found.secrets.variables)} variables"
    )


@config.command(epilog="Example: appliance config show")
@pass_box
def show(box: Box, /) -> None:
    """Print the configuration in force, secrets masked."""
    from appliance.config.show import show as shown

    click.echo(shown(box.load()), nl=False)
