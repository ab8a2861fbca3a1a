"""The CIDR blocks that a prefix list has now."""

from sqlalchemy import select

from stead_controller.db.tables import PrefixListEntry
from stead_controller.request.transaction import Transaction


def blocks(tx: Transaction, list_id: str) -> list[str]:
    """Return the blocks of a list's newest version, sorted as text."""
    query = (
        select(PrefixListEntry.cidr)
        .where(PrefixListEntry.prefix_list_id == list_id, PrefixListEntry.last_version.is_(None))
        .order_by(PrefixListEntry.cidr)
    )
    return list(tx.session.scalars(query))
