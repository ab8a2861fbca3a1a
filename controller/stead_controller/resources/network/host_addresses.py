"""Each host has its own public address towards guests, from the cloud's first pool; it is not assigned otherwise."""

import ipaddress
from datetime import datetime
from itertools import chain
from typing import Final

from sqlalchemy import func, select, update

from stead_controller.db.tables import Host, PublicAddress
from stead_controller.errors import LimitExceeded
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.network import address_pools, unclaimed_addresses

_NO_ACCOUNT: Final = ""  # belongs to no account


def take(tx: Transaction, cloud: Cloud, host: Host, now: datetime, former: str = "") -> None:
    """Assign an address to a host, to the first host the pool's first one; raises LimitExceeded when none is free.

    The `former` one of a lost controller stays the host's while it is free: hosts that have not joined yet have others.
    One that does not know it gets the pool's last one then, which hardly any of them or their guests has.
    """
    address_pools.forget_rested(tx, cloud, now)
    candidates = _candidates(cloud.public_pools[0])
    # Where the first free address is likely: hosts take them in order.
    known = tx.session.scalar(select(func.count()).where(Host.pool_address != "")) or 0
    begin = min(known, len(candidates))
    in_order = chain(candidates[begin:], candidates[:begin])
    wanted = [number for number in _numbers(former) if number in candidates]
    for number in chain(wanted, reversed(candidates) if unclaimed_addresses.are_hosts_awaited(tx) else in_order):
        address = str(ipaddress.IPv4Address(number))
        if address_pools.hold_public(tx, {"address": address, "account_id": _NO_ACCOUNT, "released": None}):
            host.pool_address = address
            return
    raise LimitExceeded("No public address is free for a further host.", code="InsufficientAddressCapacity")


def take_missing(tx: Transaction, cloud: Cloud, now: datetime) -> None:
    """Assign addresses to hosts that have none, or one of a pool that is no longer the first; the oldest host first.

    If the pool is too small, the newest hosts have none: that is better than a cloud that does not start.
    """
    pool = ipaddress.IPv4Network(cloud.public_pools[0])
    for host in tx.session.scalars(select(Host).order_by(Host.created, Host.id)).all():
        if host.pool_address and ipaddress.IPv4Address(host.pool_address) in pool:
            continue
        release(tx, host, now)
        try:
            take(tx, cloud, host, now)
        except LimitExceeded:
            return
        tx.session.flush()


def release(tx: Transaction, host: Host, now: datetime) -> None:
    """Release a host's address; it rests before it is reused."""
    if host.pool_address:
        mine = update(PublicAddress).where(PublicAddress.address == host.pool_address)
        tx.session.execute(mine.values(released=now).execution_options(synchronize_session=False))
        host.pool_address = ""


def _numbers(address: str) -> list[int]:
    """Return an IPv4 address as a number; of what is none, nothing."""
    try:
        return [int(ipaddress.IPv4Address(address))]
    except ValueError:
        return []


def _candidates(pool: str) -> range:
    """Return the possible addresses of hosts as numbers: the pool's first one, then all that guests may have."""
    network = ipaddress.IPv4Network(pool)
    begin = int(network.network_address)
    return range(begin + 1, begin + min(network.num_addresses - 1, 1 << 16))
