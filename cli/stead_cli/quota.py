"""`stead quota`: how much of everything accounts may have."""

import click

from stead_cli import settings
from stead_cli.operator import Operator
from stead_cli.output import output_option, say, show_rows

_account_option = click.option(
    "--account", "account_id", default="", help="Id or name; default: all accounts without a value of their own."
)


@click.group()
def quota() -> None:
    """Show and set how much of everything accounts may have."""


@quota.command("list")
@_account_option
@output_option
def list_quotas(account_id: str, output: str) -> None:
    """List the quotas of an account, or those of all."""
    rows = [
        {
            "code": found.quota_code,
            "service": found.service_code,
            "name": found.name,
            "value": found.value,
            "set": found.set,
        }
        for found in Operator(settings.load()).list_quotas(account_id)
    ]
    show_rows(rows, ("code", "service", "name", "value", "set"), output)


@quota.command("set")
@click.argument("code")
@click.argument("value", type=click.IntRange(min=0))
@_account_option
def set_quota(code: str, value: int, account_id: str) -> None:
    """Set the quota CODE of an account, or of all, to VALUE; existing resources stay."""
    Operator(settings.load()).set_quota(code, value, account_id)
    say(f"{code} is {value} now for {account_id or 'all accounts without a value of their own'}")


@quota.command("reset")
@click.argument("code")
@_account_option
def reset_quota(code: str, account_id: str) -> None:
    """Forget what was set for an account, or for all."""
    Operator(settings.load()).reset_quota(code, account_id)
    say(f"nothing is set any longer of {code} for {account_id or 'all accounts'}")


@quota.command("requests")
@output_option
def list_requests(output: str) -> None:
    """List what accounts have asked for by Service Quotas and nobody has answered."""
    rows = [
        {
            "id": found.request_id,
            "account": found.account_id,
            "code": found.quota_code,
            "name": found.name,
            "value": found.value,
            "desired": found.desired,
            "requester": found.requester,
        }
        for found in Operator(settings.load()).list_quota_requests()
    ]
    show_rows(rows, ("id", "account", "code", "name", "value", "desired", "requester"), output)


@quota.command("approve")
@click.argument("request_id")
def approve(request_id: str) -> None:
    """Let an account have what it asked for."""
    done = Operator(settings.load()).answer_quota_request(request_id, grant=True)
    say(f"{done.quota_code} is at least {done.desired} now for {done.account_id}")


@quota.command("deny")
@click.argument("request_id")
def deny(request_id: str) -> None:
    """Turn down what an account asked for."""
    done = Operator(settings.load()).answer_quota_request(request_id, grant=False)
    say(f"{done.account_id} is answered that {done.quota_code} stays as it is")
