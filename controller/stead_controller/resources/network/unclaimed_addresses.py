"""Addresses of interfaces that hosts have and this database, an older copy, does not know: they are not given again."""

from typing import Final

from sqlalchemy import bindparam, select

from stead_controller.db.prepared import Prepared
from stead_controller.db.tables import UnclaimedAddress
from stead_controller.request.transaction import Transaction

EVERYWHERE: Final = ""
"""Where public addresses and MACs are, which are of no subnet."""

_HELD: Final = Prepared(
    select(UnclaimedAddress.resource_id).where(
        UnclaimedAddress.place == bindparam("place"), UnclaimedAddress.address == bindparam("address")
    )
)


def is_held(tx: Transaction, place: str, address: str) -> bool:
    """Tell whether an unclaimed interface has an address, in a subnet by its id or EVERYWHERE."""
    return _HELD.first(tx.connection, {"place": place, "address": address}) is not None
