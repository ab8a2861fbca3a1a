"""Private addresses are taken from subnets for interfaces; the table's key keeps two from having the same.

EC2 keeps the first four addresses and the last one of each subnet, in IPv6 as in IPv4
(https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html). Of a CIDR reservation only those are given that
are asked for by name (https://docs.aws.amazon.com/vpc/latest/userguide/subnet-cidr-reservation.html). Those that nobody
names are scattered over the subnet.
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
_GO_ON: Final = Prepared(update(Subnet).where(Subnet.id == bindparam("subnet_id")).values(next_turn=bindparam("turn")))
_TRIES: Final = 64  # addresses tried before all of a subnet are looked at
_GOLDEN_SECTION: Final = (5**0.5 - 1) / 2


def take(tx: Transaction, subnet: Subnet, interface_id: str, wanted: str | None = None, *, primary: bool) -> str:
    """Give an interface an IPv4 address of its subnet, the wanted one if any; the interface may be added later.

    Raises InvalidParameter for an address outside of the subnet or reserved, or where the subnet is of IPv6 only,
    WrongState (InvalidIPAddress.InUse) when taken, LimitExceeded when none is free.
    """
    if wanted is None:
        return _take_any(tx, subnet, interface_id, primary=primary)
    address = check_wanted(subnet, wanted)
    if not _hold(tx, subnet, interface_id, address, primary=primary):
        raise _in_use(address)
    return address


def check_wanted(subnet: Subnet, wanted: str) -> str:
    """Give a wanted IPv4 address in its usual form; raises InvalidParameter when the subnet cannot give it."""
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
    """Give an interface an IPv6 address of its subnet's blocks; raises InvalidParameter, WrongState when taken."""
    if not blocks:
        raise InvalidParameter(f"The subnet '{subnet.id}' has no IPv6 CIDR block associated with it")
    if wanted is not None:
        address = _check_wanted_ipv6(blocks, wanted)
        if not _hold(tx, subnet, interface_id, address, primary=False, ipv6=True):
            raise _in_use(address)
        return address
    network = ipaddress.IPv6Network(blocks[0])
    free = _unreserved(tx, subnet, network, network.num_addresses - 2)
    room = sum(part.stop - part.start for part in free)  # len() of a range knows no more than 2^63
    for _ in range(_TRIES if room else 0):
        address = str(network[_at(free, secrets.randbelow(room))])
        if _hold(tx, subnet, interface_id, address, primary=False, ipv6=True):
            return address
    raise _exhausted(subnet)


def give_back(tx: Transaction, interface_id: str, addresses: Iterable[str]) -> None:
    """Take addresses away from an interface."""
    tx.session.execute(
        delete(InterfaceAddress)
        .where(InterfaceAddress.interface_id == interface_id, InterfaceAddress.address.in_(list(addresses)))
        .execution_options(synchronize_session=False)
    )


def of(tx: Transaction, interface_id: str, *, ipv6: bool) -> list[str]:
    """List an interface's addresses, the primary one first, the others as it got them."""
    query = (
        select(InterfaceAddress.address)
        .where(InterfaceAddress.interface_id == interface_id, InterfaceAddress.ipv6.is_(ipv6))
        .order_by(InterfaceAddress.primary.desc(), InterfaceAddress.position, InterfaceAddress.address)
    )
    return list(tx.session.scalars(query))


def holder(tx: Transaction, subnet_id: str, address: str) -> InterfaceAddress | None:
    """Give the row of an address of a subnet that an interface holds."""
    return tx.session.get(InterfaceAddress, (subnet_id, address))


def _take_any(tx: Transaction, subnet: Subnet, interface_id: str, *, primary: bool) -> str:
    """Take the next free address: the search goes on where the last one ended, so that addresses rest."""
    network = _ipv4_network(subnet)
    free = _unreserved(tx, subnet, network, network.num_addresses - 2)
    room = sum(map(len, free))
    for turn in range(subnet.next_turn, subnet.next_turn + min(_TRIES, room)):
        address = str(network[_at(free, scattered(turn, room))])
        if _hold(tx, subnet, interface_id, address, primary=primary):
            _go_on_after(tx, subnet, turn % room)
            return address
    taken = set(tx.session.scalars(select(InterfaceAddress.address).where(InterfaceAddress.subnet_id == subnet.id)))
    for turn in range(room):
        address = str(network[_at(free, scattered(turn, room))])
        if address not in taken and _hold(tx, subnet, interface_id, address, primary=primary):
            _go_on_after(tx, subnet, turn)
            return address
    raise _exhausted(subnet)


def scattered(turn: int, room: int) -> int:
    """Give the number, of `room` many, whose turn it is: far from those before it, each once in `room` turns. Pure.

    The first ones come as late as can be, since people like to name addresses near the begin of a subnet.
    """
    return (turn + 1) * _stride(room) % room


@cache
def _stride(room: int) -> int:
    """Give a step with which all of `room` numbers are met: near the golden section, so that any few lie wide apart."""
    near = round(room * _GOLDEN_SECTION)
    return next(step for step in count(max(near, 1)) if gcd(step, room) == 1)


def _go_on_after(tx: Transaction, subnet: Subnet, turn: int) -> None:
    """Note where the next search begins, at once: a flush for that alone, at each launch, costs ten times as much."""
    _GO_ON.all(tx.connection, {"subnet_id": subnet.id, "turn": turn + 1})
    set_committed_value(subnet, "next_turn", turn + 1)


def _unreserved(
    tx: Transaction, subnet: Subnet, network: ipaddress.IPv4Network | ipaddress.IPv6Network, last_offset: int
) -> list[range]:
    """List the offsets of addresses that need not be asked for by name, in their order."""
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
    """Cut blocks, sorted pairs of an offset and a size that do not overlap, out of what a subnet can give. Pure."""
    free, begin = [], FIRST_OFFSET
    for offset, size in reserved:
        free.append(range(begin, min(offset, last_offset + 1)))
        begin = max(begin, offset + size)
    free.append(range(begin, last_offset + 1))
    return [part for part in free if part]


def _at(free: list[range], number: int) -> int:
    """Give the offset of this number among all."""
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
    """Give the place of a further address among those of an interface: they are shown in the order it got them."""
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
