"""`stead version`: which Stead this is."""

import click

from stead_cli import launcher


@click.command()
def version() -> None:
    """Show the version, and the commit where the checkout has its history."""
    launcher.run("version")
