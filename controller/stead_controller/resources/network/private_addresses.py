"""Assign private addresses of subnets to interfaces; the table's key prevents duplicates.

EC2 reserves the first four addresses and the last one of each subnet, in IPv6 as in IPv4
(https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html). Addresses of a CIDR reservation are assigned only
if a request names them (https://docs.aws.amazon.com/vpc/latest/userguide/subnet-cidr-reservation.html). Automatically
chosen addresses are scattered over the subnet.
"""

import ipaddress
import secrets
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import count
from math import gcd
from typing import Final

from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.orm.attributes import set_committed_value

from stead_controller.db.insert import insert_if_absent
from stead_controller.db.prepared import Prepared
from stead_controller.db.tables import InterfaceAddress, Subnet, SubnetCidrReservation
from stead_controller.errors import InvalidParameter, LimitExceeded, WrongState
from stead_controller.request.transaction import Transaction
from stead_controller.resources.network import unclaimed_addresses

FIRST_OFFSET: Final = 4
_CONTINUE_AFTER: Final = Prepared(
    update(Subnet).where(Subnet.id == bindparam("subnet_id")).values(next_turn=bindparam("attempt"))
)
_TRIES: Final = 64  # random addresses tried before all of a subnet are searched
_GOLDEN_SECTION: Final = (5**0.5 - 1) / 2


def take(tx: Transaction, subnet: Subnet, interface_id: str, wanted: str | None = None, *, primary: bool) -> str:
    """Assign an IPv4 address of its subnet to an interface, the requested one if any; its row may be added later.

    Raises InvalidParameter for an address outside of the subnet or reserved, or where the subnet is IPv6-only,
    WrongState (InvalidIPAddress.InUse) when taken, LimitExceeded when none is free.
    """
    if wanted is None:
        return _take_any(tx, subnet, interface_id, primary=primary)
    address = check_wanted(subnet, wanted)
    if not _hold(tx, subnet, interface_id, address, primary=primary):
        raise _in_use(address)
    return address


def check_wanted(subnet: Subnet, wanted: str) -> str:
    """Return a requested IPv4 address in canonical form; raises InvalidParameter if the subnet cannot assign it."""
    network = _ipv4_network(subnet)
    try:
        address = ipaddress.IPv4Address(wanted)
    except ValueError as error:
        raise InvalidParameter(f"Value ({wanted}) for parameter address is invalid. Invalid IPv4 address") from error
    if address not in network:
        raise InvalidParameter(f"Address {wanted} does not fall within the subnet's address range")
    offset = int(address) - int(network.network_address)
    if offset < FIRST_OFFSET or offset > network.num_addresses - 2:
        raise InvalidParameter(f"Address {wanted} is in subnet's reserved address range")
    return str(address)


def _ipv4_network(subnet: Subnet) -> ipaddress.IPv4Network:
    if subnet.cidr_block is None:
        raise InvalidParameter(f"The subnet '{subnet.id}' is an IPv6 only subnet: it has no private IPv4 addresses")
    return ipaddress.IPv4Network(subnet.cidr_block)


def take_ipv6(
    tx: Transaction, subnet: Subnet, blocks: Sequence[str], interface_id: str, wanted: str | None = None
) -> str:
    """Assign an IPv6 address of its subnet's blocks to an interface; raises InvalidParameter, WrongState if in use."""
    if not blocks:
        raise InvalidParameter(f"The subnet '{subnet.id}' has no IPv6 CIDR block associated with it")
    if wanted is not None:
        address = _check_wanted_ipv6(blocks, wanted)
        if not _hold(tx, subnet, interface_id, address, primary=False, ipv6=True):
            raise _in_use(address)
        return address
    network = ipaddress.IPv6Network(blocks[0])
    free = _unreserved(tx, subnet, network, network.num_addresses - 2)
    size = sum(part.stop - part.start for part in free)  # len() of a range is limited to 2^63
    for _ in range(_TRIES if size else 0):
        address = str(network[_at(free, secrets.randbelow(size))])
        if _hold(tx, subnet, interface_id, address, primary=False, ipv6=True):
            return address
    raise _exhausted(subnet)


def release(tx: Transaction, interface_id: str, addresses: Iterable[str]) -> None:
    """Release addresses of an interface."""
    tx.session.execute(
        delete(InterfaceAddress)
        .where(InterfaceAddress.interface_id == interface_id, InterfaceAddress.address.in_(list(addresses)))
        .execution_options(synchronize_session=False)
    )


def of(tx: Transaction, interface_id: str, *, ipv6: bool) -> list[str]:
    """List an interface's addresses, the primary one first, the others in the order of their assignment."""
    query = (
        select(InterfaceAddress.address)
        .where(InterfaceAddress.interface_id == interface_id, InterfaceAddress.ipv6.is_(ipv6))
        .order_by(InterfaceAddress.primary.desc(), InterfaceAddress.position, InterfaceAddress.address)
    )
    return list(tx.session.scalars(query))


def holder(tx: Transaction, subnet_id: str, address: str) -> InterfaceAddress | None:
    """Return the row of a subnet's address that is assigned to an interface."""
    return tx.session.get(InterfaceAddress, (subnet_id, address))


def _take_any(tx: Transaction, subnet: Subnet, interface_id: str, *, primary: bool) -> str:
    """Take the next free address: the search continues where the last one ended, so that addresses rest after use."""
    network = _ipv4_network(subnet)
    free = _unreserved(tx, subnet, network, network.num_addresses - 2)
    size = sum(map(len, free))
    for attempt in range(subnet.next_turn, subnet.next_turn + min(_TRIES, size)):
        address = str(network[_at(free, scattered(attempt, size))])
        if _hold(tx, subnet, interface_id, address, primary=primary):
            _continue_after(tx, subnet, attempt % size)
            return address
    taken = set(tx.session.scalars(select(InterfaceAddress.address).where(InterfaceAddress.subnet_id == subnet.id)))
    for attempt in range(size):
        address = str(network[_at(free, scattered(attempt, size))])
        if address not in taken and _hold(tx, subnet, interface_id, address, primary=primary):
            _continue_after(tx, subnet, attempt)
            return address
    raise _exhausted(subnet)


def scattered(attempt: int, size: int) -> int:
    """Return the next number of a sequence that visits all of `room`, each far from the previous ones. Pure.

    The lowest numbers come as late as possible, since users often name addresses near the start of a subnet.
    """
    return (attempt + 1) * _stride(size) % size


@cache
def _stride(size: int) -> int:
    """Return a step that visits all of `room` numbers: near the golden section, so that neighbours lie far apart."""
    near = round(size * _GOLDEN_SECTION)
    return next(step for step in count(max(near, 1)) if gcd(step, size) == 1)


def _continue_after(tx: Transaction, subnet: Subnet, attempt: int) -> None:
    """Store where the next search begins by an UPDATE: a flush for it, at each launch, costs ten times as much."""
    _CONTINUE_AFTER.all(tx.connection, {"subnet_id": subnet.id, "attempt": attempt + 1})
    set_committed_value(subnet, "next_turn", attempt + 1)


def _unreserved(
    tx: Transaction, subnet: Subnet, network: ipaddress.IPv4Network | ipaddress.IPv6Network, last_offset: int
) -> list[range]:
    """List, in order, the offsets of addresses that may be chosen automatically."""
    if not subnet.has_reservations:
        return [range(FIRST_OFFSET, last_offset + 1)]
    query = select(SubnetCidrReservation.cidr_block).where(
        SubnetCidrReservation.subnet_id == subnet.id, SubnetCidrReservation.ipv6.is_(network.version == 6)
    )
    base = int(network.network_address)
    reserved = sorted(
        (int(block.network_address) - base, block.num_addresses)
        for block in map(ipaddress.ip_network, tx.session.scalars(query))
    )
    return unreserved(last_offset, reserved)


def unreserved(last_offset: int, reserved: Iterable[tuple[int, int]]) -> list[range]:
    """Remove blocks, sorted pairs of an offset and a size that do not overlap, from a subnet's usable range. Pure."""
    free, begin = [], FIRST_OFFSET
    for offset, size in reserved:
        free.append(range(begin, min(offset, last_offset + 1)))
        begin = max(begin, offset + size)
    free.append(range(begin, last_offset + 1))
    return [part for part in free if part]


def _at(free: list[range], number: int) -> int:
    """Return the offset with this number among all."""
    for part in free:
        if number < part.stop - part.start:
            return part.start + number
        number -= part.stop - part.start
    raise IndexError(number)


def _exhausted(subnet: Subnet) -> LimitExceeded:
    return LimitExceeded(
        f"There are not enough free addresses in subnet '{subnet.id}' to satisfy the requested number of instances.",
        code="InsufficientFreeAddressesInSubnet",
    )


def _check_wanted_ipv6(blocks: Sequence[str], wanted: str) -> str:
    try:
        address = ipaddress.IPv6Address(wanted)
    except ValueError as error:
        raise InvalidParameter(f"Value ({wanted}) for parameter address is invalid. Invalid IPv6 address") from error
    network = next((net for net in map(ipaddress.IPv6Network, blocks) if address in net), None)
    if network is None:
        raise InvalidParameter(f"Address {wanted} does not fall within the subnet's address range")
    offset = int(address) - int(network.network_address)
    if offset < FIRST_OFFSET or offset == network.num_addresses - 1:
        raise InvalidParameter(f"Address {wanted} is in subnet's reserved address range")
    return str(address)


def next_position(tx: Transaction, interface_id: str) -> int:
    """Return the position of a further address of an interface: they are shown in the order of their assignment."""
    query = select(func.max(InterfaceAddress.position)).where(InterfaceAddress.interface_id == interface_id)
    return (tx.session.scalar(query) or 0) + 1


def _hold(
    tx: Transaction, subnet: Subnet, interface_id: str, address: str, *, primary: bool, ipv6: bool = False
) -> bool:
    values = {
        "position": 0 if primary else next_position(tx, interface_id),
        "subnet_id": subnet.id,
        "address": address,
        "interface_id": interface_id,
        "ipv6": ipv6,
        "primary": primary,
    }
    if unclaimed_addresses.is_held(tx, subnet.id, address):
        return False
    return insert_if_absent(tx.session, InterfaceAddress, values)


def _in_use(address: str) -> WrongState:
    return WrongState("network-interface", f"Address {address} is in use.", code="InvalidIPAddress.InUse")
