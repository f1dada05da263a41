"""The commands ``appliance key``: list and rotate the key that seals secrets."""

import click

from appliance.cli.command import Group
from appliance.cli.context import CommandContext, pass_context


@click.group(cls=Group)
def key() -> None:
    """List or rotate the keys that secrets are sealed with."""


@key.command("list", epilog="Example: appliance key list")
@pass_context
def list_keys(context: CommandContext, /) -> None:
    """Name every key by its fingerprint, the current one first."""
    from appliance.temporal.keyring import Keyring

    for name in Keyring(context.settings().key_file).fingerprints:
        click.echo(name)


@key.command(epilog="Example: appliance key rotate")
@pass_context
def rotate(context: CommandContext, /) -> None:
    """Make a fresh key the current one; what older ones sealed still opens."""
    from appliance.temporal.keyring import rotate as put_fresh

    file = context.settings().key_file
    current, *older = put_fresh(file).fingerprints
    click.echo(f"{file}: the key is now {current}; {len(older)} older stay readable.")
    click.echo(
        "Workers that share this file use it at once. Give a copy to every other one, "
        "and to your backup.",
        err=True,
    )
