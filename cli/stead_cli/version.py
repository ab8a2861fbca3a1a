"""`stead version`: which Stead this is."""

import click

from stead_cli import launcher, release


@click.command()
def version() -> None:
    """Show the version, and the commit where it is known."""
    show()


def show() -> None:
    """Print the version and commit of an installed release, or let the launcher do so in a checkout."""
    installed = release.installed_version()
    if installed is None:
        launcher.run("version")
    click.echo(installed)
