"""`stead env`: what a shell must export so that every AWS client finds this cloud."""

import click

from stead_cli import aws, cloud, settings
from stead_cli.operator import Operator
from stead_cli.output import say


@click.command()
@click.option("--account", help="Id or name of the account whose keys are given; default: the first.")
def env(account: str | None) -> None:
    """Print lines for: eval "$(./stead env)"."""
    chosen = settings.load()
    key = aws.first_access_key(chosen) if account is None else aws.access_key_of(chosen, Operator(chosen), account)
    for line in aws.shell_lines(chosen, key):
        click.echo(line)
    if not cloud.controller_health(chosen).answers:
        say(f"stead: nothing answers at {chosen.https_endpoint} now; start it: ./stead up")
