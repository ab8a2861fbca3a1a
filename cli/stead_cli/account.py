"""`stead account`: isolated accounts, each with its own access keys and default VPC."""

import datetime as dt

import click

from stead_cli import settings
from stead_cli.operator import Operator
from stead_cli.output import json_or, output_option, say, show_rows


@click.group()
def account() -> None:
    """Make, list and disable accounts; their root access keys, and sessions of their roles."""


@account.command("create")
@click.argument("name")
@output_option
def create(name: str, output: str) -> None:
    """Make an isolated account; its secret key is shown this once."""
    made = Operator(settings.load()).create_account(name)
    _show_once(
        {
            "account_id": made.account_id,
            "name": made.name,
            "access_key_id": made.access_key_id,
            "secret_access_key": made.secret_access_key,
        },
        output,
    )


@account.command("list")
@output_option
def list_accounts(output: str) -> None:
    """List the accounts."""
    rows = [
        {
            "account_id": found.account_id,
            "name": found.name,
            "created": _time(found.created),
            "disabled": found.disabled,
        }
        for found in Operator(settings.load()).list_accounts()
    ]
    show_rows(rows, ("account_id", "name", "created", "disabled"), output)


@account.command("disable")
@click.argument("account_name", metavar="ACCOUNT")
def disable(account_name: str) -> None:
    """Refuse all credentials of an account (its id or name); what it runs goes on."""
    changed = Operator(settings.load()).disable_account(account_name, disabled=True)
    say(f"Account {changed.account_id} ({changed.name}) is disabled. Undo: stead account enable {changed.account_id}")


@account.command("enable")
@click.argument("account_name", metavar="ACCOUNT")
def enable(account_name: str) -> None:
    """Accept the credentials of an account (its id or name) again."""
    changed = Operator(settings.load()).disable_account(account_name, disabled=False)
    say(f"Account {changed.account_id} ({changed.name}) is enabled.")


@account.command("revoke-sessions")
@click.argument("account_name", metavar="ACCOUNT")
@click.argument("role_name", metavar="ROLE")
def revoke_sessions(account_name: str, role_name: str) -> None:
    """End all sessions of an account's role that were begun before now."""
    Operator(settings.load()).revoke_sessions(account_name, role_name)
    say(f"Sessions of {role_name} that were begun before now are refused within a second.")


@account.command("create-key")
@click.argument("account_name", metavar="ACCOUNT")
@output_option
def create_key(account_name: str, output: str) -> None:
    """Make a second root access key of an account; its secret is shown this once."""
    made = Operator(settings.load()).create_root_key(account_name)
    _show_once(
        {
            "account_id": made.account_id,
            "access_key_id": made.access_key_id,
            "secret_access_key": made.secret_access_key,
        },
        output,
    )


@account.command("keys")
@click.argument("account_name", metavar="ACCOUNT")
@output_option
def keys(account_name: str, output: str) -> None:
    """List the root access keys of an account."""
    rows = [
        {
            "access_key_id": key.access_key_id,
            "active": key.active,
            "created": _time(key.created),
            "last_used": _time(key.last_used) if key.last_used else "",
        }
        for key in Operator(settings.load()).list_root_keys(account_name)
    ]
    show_rows(rows, ("access_key_id", "active", "created", "last_used"), output)


@account.command("delete-key")
@click.argument("account_name", metavar="ACCOUNT")
@click.argument("access_key_id")
def delete_key(account_name: str, access_key_id: str) -> None:
    """Delete a root access key of an account; it is refused within a second."""
    Operator(settings.load()).delete_root_key(account_name, access_key_id)
    say(f"The access key {access_key_id} is deleted.")


def _show_once(key: dict[str, str], output: str) -> None:
    def lines() -> None:
        for title, value in key.items():
            click.echo(f"{title}\t{value}")
        say("The secret access key is not shown again.")

    json_or(output, key, lines)


def _time(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat()
