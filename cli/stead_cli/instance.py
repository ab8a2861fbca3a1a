"""`stead instance`: what only an operator does with instances."""

from datetime import UTC, datetime

import click

from stead_cli import settings
from stead_cli.operator import Operator


@click.group()
def instance() -> None:
    """Interrupt Spot Instances."""


@instance.command()
@click.argument("instance_id", metavar="i-…")
def interrupt(instance_id: str) -> None:
    """Give a Spot Instance two minutes' notice of its end, as when others need its room.

    For tests of what a guest does then.
    """
    end = datetime.fromtimestamp(Operator(settings.load()).interrupt_instance(instance_id), UTC)
    click.echo(f"{instance_id} has notice and ends at {end:%Y-%m-%d %H:%M:%S} UTC")
