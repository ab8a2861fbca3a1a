"""Addresses of hosts' interfaces that this (restored) database does not know: they must not be assigned again."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import bindparam, distinct, exists, func, select

from stead_controller.db.prepared import Prepared
from stead_controller.db.tables import InterfaceAddress, UnclaimedAddress
from stead_controller.request.transaction import Transaction

EVERYWHERE: Final = ""
"""The scope of public addresses and MACs, which belong to no subnet."""

_FACT: Final = "unclaimed_addresses"
ANY: Final = Prepared(select(UnclaimedAddress.resource_id).limit(1))
"""What `are_any` asks."""
_HELD: Final = Prepared(
    select(UnclaimedAddress.resource_id).where(
        UnclaimedAddress.place == bindparam("place"), UnclaimedAddress.address == bindparam("address")
    )
)


def is_held(tx: Transaction, place: str, address: str) -> bool:
    """Tell whether an unclaimed interface has an address, in a subnet by its id or EVERYWHERE."""
    if not are_any(tx):
        return False
    return _HELD.first(tx.connection, {"place": place, "address": address}) is not None


def are_any(tx: Transaction) -> bool:
    """Tell whether there are unclaimed addresses; asked once per transaction, of which few see any."""
    if _FACT not in tx.facts:
        tx.facts[_FACT] = ANY.first(tx.connection, {}) is not None
    found: bool = tx.facts[_FACT]
    return found


def added(tx: Transaction) -> None:
    """Take note that this transaction has added unclaimed addresses."""
    tx.facts[_FACT] = True


def further(tx: Transaction, subnet_ids: Sequence[str]) -> dict[str, int]:
    """Count, by subnet, the IPv4 addresses that only unclaimed interfaces have; subnets without any are left out.

    An address assigned before it was reported as unclaimed counts with its own interface, not here.
    """
    assigned = exists().where(
        InterfaceAddress.subnet_id == UnclaimedAddress.place, InterfaceAddress.address == UnclaimedAddress.address
    )
    query = (
        select(UnclaimedAddress.place, func.count(distinct(UnclaimedAddress.address)))
        .where(UnclaimedAddress.place.in_(subnet_ids), UnclaimedAddress.address.not_like("%:%"), ~assigned)
        .group_by(UnclaimedAddress.place)
    )
    return {row[0]: row[1] for row in tx.session.execute(query)}
