"""What a prefix list stands for now."""

from sqlalchemy import select

from stead_controller.db.tables import PrefixListEntry
from stead_controller.request.transaction import Transaction


def blocks(tx: Transaction, list_id: str) -> list[str]:
    """Give the blocks of a list's newest version, sorted by their text."""
    query = (
        select(PrefixListEntry.cidr)
        .where(PrefixListEntry.prefix_list_id == list_id, PrefixListEntry.last_version.is_(None))
        .order_by(PrefixListEntry.cidr)
    )
    return list(tx.session.scalars(query))
