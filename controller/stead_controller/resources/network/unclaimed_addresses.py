"""Addresses of hosts' interfaces that this (restored) database does not know: they must not be assigned again.

After the loss of a controller nobody knows the public ones of hosts that have not joined the new one yet. So none is
given out, and no further host is let in, from the recovery, or the first host that joins again, until an operator says
that all have.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import bindparam, distinct, exists, func, literal, or_, select

from stead_controller.db.prepared import Prepared
from stead_controller.db.tables import CloudFact, InterfaceAddress, UnclaimedAddress
from stead_controller.errors import LimitExceeded
from stead_controller.request.transaction import Transaction

EVERYWHERE: Final = ""
"""The scope of public addresses and MACs, which belong to no subnet."""

_FACT: Final = "unclaimed_addresses"
_RETURN: Final = "hosts_return"  # the name of a fact of the cloud
_AWAITED, _ENDED = "awaited", "ended"
ANY: Final = Prepared(
    select(literal(1)).where(
        or_(
            exists(select(UnclaimedAddress.resource_id)),
            exists().where(CloudFact.name == _RETURN, CloudFact.value == _AWAITED),
        )
    )
)
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
    """Tell whether there are unclaimed addresses, known or not; asked once per transaction, of which few see any."""
    if _FACT not in tx.facts:
        tx.facts[_FACT] = ANY.first(tx.connection, {}) is not None
    found: bool = tx.facts[_FACT]
    return found


def added(tx: Transaction) -> None:
    """Take note that this transaction has added unclaimed addresses."""
    tx.facts[_FACT] = True


def await_hosts(tx: Transaction) -> None:
    """Expect further hosts of a lost controller, unless an operator has said that all have joined."""
    if tx.session.get(CloudFact, _RETURN) is None:
        tx.session.add(CloudFact(name=_RETURN, value=_AWAITED))


def are_hosts_awaited(tx: Transaction) -> bool:
    """Tell whether further hosts of a lost controller are expected."""
    fact = tx.session.get(CloudFact, _RETURN)
    return fact is not None and fact.value == _AWAITED


def end_return(tx: Transaction) -> bool:
    """Expect no further hosts; tell whether any were expected."""
    fact = tx.session.get(CloudFact, _RETURN)
    if fact is None or fact.value == _ENDED:
        return False
    fact.value = _ENDED
    return True


def require_known(tx: Transaction) -> None:
    """Raise LimitExceeded where hosts may have public addresses that nobody knows."""
    if are_any(tx) and are_hosts_awaited(tx):
        raise LimitExceeded(
            "No public address is given while hosts of the lost controller may still join. An operator ends that: "
            "stead recover --all-joined.",
            code="InsufficientAddressCapacity",
        )


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
