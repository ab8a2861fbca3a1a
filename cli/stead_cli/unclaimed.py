"""`stead unclaimed`: what hosts have and the database does not know, after an older copy of it was put back."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

import click

from stead_cli import settings
from stead_cli.errors import CliError
from stead_cli.operator import Operator
from stead_cli.output import output_option, say, show_json, show_rows
from stead_proto.v1 import operator_pb2 as pb

_ADOPTED_ALONE = ("machine", "nat_gateway", "endpoint_interface", "volume")
_ADOPTED_WITH_ANOTHER = "No host has an unclaimed"


@click.group()
def unclaimed() -> None:
    """See, adopt and remove what hosts have and the database does not know, after a restore."""


def row_of(found: pb.UnclaimedSummary) -> dict[str, Any]:
    """Make a row of a table."""
    return {
        "id": found.id,
        "kind": found.kind.replace("_", " "),
        "part_of": found.part_of or None,
        "host_id": found.host_id,
        "account_id": found.account_id or None,
        "what": found.what,
        "since": dt.datetime.fromtimestamp(found.since, dt.UTC).isoformat(),
        "instance_type": found.instance_type or None,
        "image_id": found.image_id or None,
        "is_running": found.is_running if found.kind == "machine" else None,
        "size": found.size or None,
        "addresses": list(found.addresses),
        "volume_ids": list(found.volume_ids),
        "interface_ids": list(found.interface_ids),
    }


@unclaimed.command("list")
@click.option("--host", "host_id", default="", help="Only what this host has.")
@output_option
def list_unclaimed(host_id: str, output: str) -> None:
    """List what hosts have and the database does not know; nobody else gets its addresses or its room."""
    rows = [row_of(each) for each in Operator(settings.load()).list_unclaimed(host_id)]
    show_rows(rows, ("id", "kind", "part_of", "host_id", "account_id", "what"), output)


@unclaimed.command()
@click.argument("resource_id", metavar="ID")
@click.option("--account", "account_id", default="", help="Whose volume it is to be, if its host does not know.")
@output_option
def show(resource_id: str, account_id: str, output: str) -> None:
    """Show what hosts say of ID and of its parts, and what would come of its adoption; nothing is changed."""
    operator = Operator(settings.load())
    everything = operator.list_unclaimed()
    rows = [row_of(each) for each in everything if resource_id in (each.id, each.part_of)]
    if not rows:
        raise CliError(f"no host has an unclaimed {resource_id}", "which there are: stead unclaimed list")
    notes, refusal = _try(operator, resource_id, account_id)
    if output == "json":
        show_json({"unclaimed": rows, "adoptable": refusal is None, "refusal": refusal, "notes": notes})
        return
    show_rows(rows, ("id", "kind", "host_id", "account_id", "what", "since"), output)
    if refusal is not None:
        say(f"it cannot be adopted: {refusal}")
    else:
        say("it can be adopted" + ("; then:" if notes else ""))
        _say_notes(notes)


@unclaimed.command()
@click.argument("ids", nargs=-1, metavar="ID...")
@click.option(
    "--all", "everything", is_flag=True, help="All instances, then gateways and volumes that no instance has."
)
@click.option("--account", "account_id", default="", help="Whose volumes they are to be, if their hosts do not know.")
@output_option
def adopt(ids: tuple[str, ...], account_id: str, output: str, *, everything: bool) -> None:
    """Make instances, with all that they have, and volumes known again; guests do not notice.

    Each is adopted whole or not at all. Its use is billed from now on.
    """
    if bool(ids) == everything:
        raise CliError("name what to adopt, or say --all", "stead unclaimed list")
    operator = Operator(settings.load())
    rows = []
    for resource_id in _all_of(operator) if everything else ids:
        notes, refusal = _try(operator, resource_id, account_id, really=True)
        if everything and refusal is not None and _ADOPTED_WITH_ANOTHER in refusal:
            continue  # such as an instance to which a route of another one's VPC leads
        rows.append({"id": resource_id, "adopted": refusal is None, "notes": notes, "refusal": refusal})
        if output != "json":
            say(f"{resource_id} is adopted" if refusal is None else f"{resource_id} is not adopted: {refusal}")
            _say_notes(notes)
    if output == "json":
        show_json(rows)
    if not all(row["adopted"] for row in rows):
        raise CliError("not all of it is adopted")


@unclaimed.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--host", "host_id", default="", help="Only from this host.")
@output_option
def remove(ids: tuple[str, ...], host_id: str, output: str) -> None:
    """Remove from hosts what the database does not know, for good.

    With an instance go its interfaces and the volumes that would end with it; its other volumes stay unclaimed.
    """
    rows = [row_of(each) for each in Operator(settings.load()).remove_unclaimed(ids, host_id)]
    if output == "json":
        show_json(rows)
    for row in rows if output != "json" else ():
        say(f"{row['host_id']} removes the {row['kind']} {row['id']}")


def _all_of(operator: Operator) -> list[str]:
    """List the ids of all that can be adopted by itself, instances first."""
    found = [each for each in operator.list_unclaimed() if each.kind in _ADOPTED_ALONE and not each.part_of]
    ordered = sorted(found, key=lambda each: _ADOPTED_ALONE.index(each.kind))
    return list(dict.fromkeys(each.id for each in ordered))


def _try(
    operator: Operator, resource_id: str, account_id: str, *, really: bool = False
) -> tuple[list[str], str | None]:
    """Adopt something, or only see what would come of it; return what is not as it was, or why it is refused."""
    try:
        return operator.adopt_unclaimed(resource_id, account_id, dry_run=not really), None
    except CliError as refusal:
        return [], str(refusal)


def _say_notes(notes: Sequence[str]) -> None:
    for note in notes:
        say(f"  {note}")
