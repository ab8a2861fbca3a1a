"""`stead account`: isolated accounts, each with its own access key and default VPC."""

import datetime as dt

import click

from stead_cli import settings
from stead_cli.operator import Operator
from stead_cli.output import json_or, output_option, say, show_rows


@click.group()
def account() -> None:
    """Make and list accounts."""


@account.command("create")
@click.argument("name")
@output_option
def create(name: str, output: str) -> None:
    """Make an isolated account; its secret key is shown this once."""
    made = Operator(settings.load()).create_account(name)
    key = {
        "account_id": made.account_id,
        "name": made.name,
        "access_key_id": made.access_key_id,
        "secret_access_key": made.secret_access_key,
    }

    def lines() -> None:
        for title, value in key.items():
            click.echo(f"{title}\t{value}")
        say("The secret access key is not shown again.")

    json_or(output, key, lines)


@account.command("list")
@output_option
def list_accounts(output: str) -> None:
    """List the accounts."""
    rows = [
        {
            "account_id": found.account_id,
            "name": found.name,
            "created": dt.datetime.fromtimestamp(found.created, dt.UTC).isoformat(),
            "disabled": found.disabled,
        }
        for found in Operator(settings.load()).list_accounts()
    ]
    show_rows(rows, ("account_id", "name", "created", "disabled"), output)
