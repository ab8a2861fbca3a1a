"""Assign public addresses from the cloud's pools, which are not reused at once, and choose random MACs."""

import ipaddress
import secrets
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

from sqlalchemy import bindparam, delete, select, update

from stead_controller.db.insert import insert_if_absent
from stead_controller.db.prepared import Prepared
from stead_controller.db.tables import Instance, NetworkInterface, PublicAddress
from stead_controller.errors import LimitExceeded
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.network import address_usage, unclaimed_addresses

_PICKS: Final = 16
_WITH_MAC: Final = Prepared(select(NetworkInterface.id).where(NetworkInterface.mac_address == bindparam("mac")))


def new_mac(tx: Transaction) -> str:
    """Choose a locally administered MAC address that no interface has."""
    while True:
        mac = ":".join(["02", *(f"{octet:02x}" for octet in secrets.token_bytes(5))])
        if _WITH_MAC.first(tx.connection, {"mac": mac}) is None and not is_unclaimed(tx, mac):
            return mac


def hold_public(tx: Transaction, values: Mapping[str, Any]) -> bool:
    """Add the row of a public address, unless it exists or an unclaimed interface has the address."""
    return not is_unclaimed(tx, values["address"]) and insert_if_absent(tx.session, PublicAddress, values)


def is_unclaimed(tx: Transaction, address: str) -> bool:
    """Tell whether a public address or a MAC belongs to a host's interface that this database does not know."""
    return unclaimed_addresses.is_held(tx, unclaimed_addresses.EVERYWHERE, address)


def take_public(tx: Transaction, cloud: Cloud, account_id: str, interface: NetworkInterface, now: datetime) -> str:
    """Assign a free public address to an interface, past its rest after use; raises LimitExceeded when none is left.

    The interface's row must be flushed already, and it must have a private IPv4 address.
    """
    assert interface.private_address is not None
    private_address = interface.private_address
    taken = take_free(tx, cloud, account_id, now, interface_id=interface.id, private_address=private_address)
    address_usage.begin_automatic(tx, account_id, interface.id, now)
    return taken


def take_free(tx: Transaction, cloud: Cloud, account_id: str, now: datetime, **columns: str) -> str:
    """Take a free public address, past its rest after use, with these columns; raises LimitExceeded."""
    unclaimed_addresses.require_known(tx)
    values = {"account_id": account_id, "released": None, **columns}
    for address in _some(cloud):
        if hold_public(tx, {"address": address, **values}):
            return address
    forget_rested(tx, cloud, now)
    taken = set(tx.session.scalars(select(PublicAddress.address)))
    for pool in cloud.public_pools:
        for address in map(str, map(ipaddress.IPv4Address, _usable(pool))):
            if address not in taken and hold_public(tx, {"address": address, **values}):
                return address
    raise LimitExceeded("No public address is free in the cloud's pools.", code="InsufficientAddressCapacity")


def forget_rested(tx: Transaction, cloud: Cloud, now: datetime) -> None:
    """Free the addresses whose rest after their release has ended."""
    rested = now - timedelta(seconds=cloud.address_rest_seconds)
    tx.session.execute(delete(PublicAddress).where(PublicAddress.released <= rested))


def in_pools(cloud: Cloud, address: str) -> bool:
    """Tell whether an address is one of the usable ones of the cloud's pools."""
    try:
        number = int(ipaddress.IPv4Address(address))
    except ValueError:
        return False
    return any(number in _usable(pool) for pool in cloud.public_pools)


def _some(cloud: Cloud) -> Iterator[str]:
    """Choose a few addresses of the pools at random; while the pools are not nearly full, one of them is free."""
    pools = [usable for usable in map(_usable, cloud.public_pools) if usable]
    for _ in range(_PICKS if pools else 0):
        yield str(ipaddress.IPv4Address(secrets.choice(secrets.choice(pools))))


@cache
def _usable(pool: str) -> range:
    """Return a pool's usable addresses as numbers: no network and broadcast address, nor the first, the hosts' own."""
    network = ipaddress.IPv4Network(pool)
    begin = int(network.network_address)
    return range(begin + 2, begin + max(2, min(network.num_addresses - 1, 1 << 18)))


def release_public(tx: Transaction, interface_id: str, now: datetime) -> None:
    """Release an interface's automatic public addresses; they rest before they are reused."""
    released = tx.session.execute(
        update(PublicAddress)
        .where(PublicAddress.interface_id == interface_id, PublicAddress.allocation_id.is_(None))
        .values(interface_id=None, private_address=None, released=now)
        .returning(PublicAddress.account_id)
    )
    for account_id in released.scalars().all():
        address_usage.end(tx, account_id, interface_id, now)


def dissociate_elastic(
    tx: Transaction, interface_id: str, now: datetime, private_addresses: Sequence[str] | None = None
) -> None:
    """Disassociate an interface's Elastic IP addresses, all or those of some private ones; they stay allocated."""
    query = update(PublicAddress).where(
        PublicAddress.interface_id == interface_id, PublicAddress.allocation_id.is_not(None)
    )
    if private_addresses is not None:
        query = query.where(PublicAddress.private_address.in_(private_addresses))
    left = tx.session.execute(
        query.values(interface_id=None, private_address=None, association_id=None).returning(
            PublicAddress.account_id, PublicAddress.allocation_id
        )
    )
    for account_id, allocation_id in left.all():
        assert allocation_id is not None
        address_usage.measure_elastic(tx, account_id, allocation_id, now, in_use=False)


def public_of(tx: Transaction, interface: NetworkInterface) -> str | None:
    """Return the public address of an interface's primary private address."""
    return tx.session.scalar(
        select(PublicAddress.address).where(
            PublicAddress.interface_id == interface.id,
            PublicAddress.private_address == interface.private_address,
        )
    )


def is_powered(tx: Transaction, interface: NetworkInterface) -> bool:
    """Tell whether an interface's instance is running or starting, a condition of an automatic public address."""
    state = select(Instance.state).where(Instance.id == interface.instance_id)
    return tx.session.scalar(state) in ("pending", "running")
