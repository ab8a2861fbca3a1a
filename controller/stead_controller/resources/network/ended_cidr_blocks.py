"""Disassociated blocks of a VPC or subnet are shown as `disassociated` for a while, since clients wait for that."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import delete, or_, select

from stead_controller.db.tables import EndedCidrBlock
from stead_controller.request import lookup
from stead_controller.request.conditions import Condition, constant, exists_where, text
from stead_controller.request.transaction import Transaction

STATE: Final = "disassociated"
VISIBLE: Final = timedelta(hours=1)
"""How long a disassociated block is still shown: as long as a terminated instance."""


def of(tx: Transaction, resource_ids: Iterable[str]) -> dict[str, list[EndedCidrBlock]]:
    """Return the disassociated blocks of each VPC or subnet, in the order of their disassociation."""
    found: dict[str, list[EndedCidrBlock]] = defaultdict(list)
    row = EndedCidrBlock
    for batch in lookup.batches(resource_ids):
        query = select(row).where(row.resource_id.in_(batch)).order_by(row.ended, row.id)
        for block in tx.session.scalars(query):
            found[block.resource_id].append(block)
    return found


def also(live: dict[str, Condition], prefix: str, resource_id: Any, *, ipv6: bool) -> dict[str, Condition]:
    """Make filters about the associations of a VPC or subnet also find those that have ended.

    `live` are the conditions on current associations, by the last part of the filter's name, after `prefix`.
    """
    row = EndedCidrBlock
    here = select(row.id).where(row.resource_id == resource_id, row.ipv6.is_(ipv6)).correlate(resource_id.table)
    block = "ipv6-cidr-block" if ipv6 else "cidr-block"
    ended = {"association-id": text(row.id), block: text(row.cidr_block), "state": constant(STATE)}
    return {f"{prefix}.{name}": _either(live[name], exists_where(here, ended[name])) for name in ended}


def _either(one: Condition, other: Condition) -> Condition:
    return lambda asked: or_(one(asked), other(asked))


def forget_old(tx: Transaction, now: datetime) -> None:
    """Delete the rows of associations that ended long ago."""
    old = delete(EndedCidrBlock).where(EndedCidrBlock.ended <= now - VISIBLE)
    tx.session.execute(old.execution_options(synchronize_session=False))


def forget_of(tx: Transaction, resource_id: str) -> None:
    """Delete the rows of a VPC or subnet that is deleted."""
    doomed = delete(EndedCidrBlock).where(EndedCidrBlock.resource_id == resource_id)
    tx.session.execute(doomed.execution_options(synchronize_session=False))
