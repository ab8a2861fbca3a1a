"""Addresses of hosts' interfaces that this (restored) database does not know: they must not be assigned again."""

from typing import Final

from sqlalchemy import bindparam, select

from stead_controller.db.prepared import Prepared
from stead_controller.db.tables import UnclaimedAddress
from stead_controller.request.transaction import Transaction

EVERYWHERE: Final = ""
"""The scope of public addresses and MACs, which belong to no subnet."""

_HELD: Final = Prepared(
    select(UnclaimedAddress.resource_id).where(
        UnclaimedAddress.place == bindparam("place"), UnclaimedAddress.address == bindparam("address")
    )
)


def is_held(tx: Transaction, place: str, address: str) -> bool:
    """Tell whether an unclaimed interface has an address, in a subnet by its id or EVERYWHERE."""
    return _HELD.first(tx.connection, {"place": place, "address": address}) is not None
