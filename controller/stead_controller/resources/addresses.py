"""Addresses are given to interfaces: private ones from subnets, public ones from the cloud's pools, MACs at random."""

import ipaddress
import secrets
from datetime import datetime, timedelta
from functools import cache

from sqlalchemy import delete, select, update

from stead_controller.db.insert import insert_if_absent
from stead_controller.db.tables import NetworkInterface, PublicAddress, Subnet
from stead_controller.errors import InvalidParameter, LimitExceeded, WrongState
from stead_controller.resources.cloud import Cloud
from stead_controller.resources.transaction import Transaction

# EC2 keeps the first four addresses and the last one of each subnet
# (https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html).
_FIRST_OFFSET = 4
_PICKS = 16


def take_private(tx: Transaction, subnet: Subnet, wanted: str | None = None) -> str:
    """Choose a private address of a subnet that no interface has, or check the wanted one.

    The interface's row, added in the same transaction, is what holds it. Raises InvalidParameter for an address
    outside of the subnet or reserved, WrongState (InvalidIPAddress.InUse) when taken, LimitExceeded when none is free.
    """
    network = ipaddress.IPv4Network(subnet.cidr_block)
    last_offset = network.num_addresses - 2
    if wanted is not None:
        return _check_wanted(tx, subnet, network, wanted)
    taken_here = {
        row.private_address
        for row in tx.session.new
        if isinstance(row, NetworkInterface) and row.subnet_id == subnet.id
    }
    offset = subnet.next_offset
    for _ in range(last_offset - _FIRST_OFFSET + 1):
        if offset > last_offset:
            offset = _FIRST_OFFSET
        address = str(network[offset])
        offset += 1
        if address not in taken_here and not _private_taken(tx, subnet.id, address):
            subnet.next_offset = offset
            return address
    raise LimitExceeded(
        f"There are not enough free addresses in subnet '{subnet.id}' to satisfy the requested number of instances.",
        code="InsufficientFreeAddressesInSubnet",
    )


def _check_wanted(tx: Transaction, subnet: Subnet, network: ipaddress.IPv4Network, wanted: str) -> str:
    try:
        address = ipaddress.IPv4Address(wanted)
    except ValueError as error:
        raise InvalidParameter(f"Value ({wanted}) for parameter address is invalid. Invalid IPv4 address") from error
    if address not in network:
        raise InvalidParameter(f"Address {wanted} does not fall within the subnet's address range")
    offset = int(address) - int(network.network_address)
    if offset < _FIRST_OFFSET or offset > network.num_addresses - 2:
        raise InvalidParameter(f"Address {wanted} is in subnet's reserved address range")
    if _private_taken(tx, subnet.id, wanted):
        raise WrongState("network-interface", f"Address {wanted} is in use.", code="InvalidIPAddress.InUse")
    return str(address)


def _private_taken(tx: Transaction, subnet_id: str, address: str) -> bool:
    query = select(NetworkInterface.id).where(
        NetworkInterface.subnet_id == subnet_id, NetworkInterface.private_address == address
    )
    return tx.session.execute(query).first() is not None


def new_mac(tx: Transaction) -> str:
    """Choose a locally administered MAC address that no interface has."""
    while True:
        mac = ":".join(["02", *(f"{octet:02x}" for octet in secrets.token_bytes(5))])
        if tx.session.execute(select(NetworkInterface.id).where(NetworkInterface.mac_address == mac)).first() is None:
            return mac


def take_public(tx: Transaction, cloud: Cloud, account_id: str, interface: NetworkInterface, now: datetime) -> str:
    """Give an interface a public address that is free and has rested; raises LimitExceeded when none is left.

    The interface's row must be flushed already.
    """
    values = {"account_id": account_id, "interface_id": interface.id, "private_address": interface.private_address}
    session = tx.session
    session.execute(
        delete(PublicAddress).where(PublicAddress.released <= now - timedelta(seconds=cloud.address_rest_seconds))
    )
    for pool in cloud.public_pools:
        for address in _candidates(pool):
            if insert_if_absent(session, PublicAddress, {"address": address, "released": None, **values}):
                return address
    raise LimitExceeded("No public address is free in the cloud's pools.", code="InsufficientAddressCapacity")


def _candidates(pool: str) -> "list[str]":
    """List a few random addresses of a pool, then all the others in order."""
    usable = _usable(pool)
    picks = [usable[secrets.randbelow(len(usable))] for _ in range(_PICKS)]
    return picks + usable if len(usable) <= 1 << 16 else picks * 8


@cache
def _usable(pool: str) -> list[str]:
    """List what a pool can give: without its network and broadcast address and the first, which is the hosts' own."""
    network = ipaddress.IPv4Network(pool)
    return [str(network[offset]) for offset in range(2, min(network.num_addresses - 1, 1 << 18))]


def release_public(tx: Transaction, interface_id: str, now: datetime) -> None:
    """Take an interface's public addresses away; they rest before they are given again."""
    tx.session.execute(
        update(PublicAddress)
        .where(PublicAddress.interface_id == interface_id)
        .values(interface_id=None, private_address=None, released=now)
    )
