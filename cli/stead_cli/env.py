"""`stead env`: what a shell must export so that every AWS client finds this cloud."""

import click

from stead_cli import aws, cloud, settings
from stead_cli.output import say


@click.command()
def env() -> None:
    """Print lines for: eval "$(./stead env)"."""
    chosen = settings.load()
    key = aws.first_access_key(chosen)
    for line in aws.shell_lines(chosen, key):
        click.echo(line)
    if not cloud.controller_health(chosen).answers:
        say(f"stead: nothing answers at {chosen.https_endpoint} now; start it: sudo ./stead up")
