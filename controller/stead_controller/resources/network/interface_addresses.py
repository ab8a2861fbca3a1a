"""Assign and unassign secondary private addresses and IPv6 addresses of network interfaces.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AssignPrivateIpAddresses.html.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import update

from stead_controller.db.tables import Instance, InterfaceAddress, NetworkInterface, PublicAddress, Subnet
from stead_controller.errors import InvalidCombination, InvalidParameter, LimitExceeded, MissingParameter, WrongState
from stead_controller.request import instance_types
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.network import address_pools, interface_changes, private_addresses
from stead_controller.resources.network.network_interface_attachments import check_address_number
from stead_controller.resources.network.network_interface_attributes import find_own
from stead_controller.resources.network.network_interface_life import (
    ADDRESSES_PER_INTERFACE,
    AddressRequest,
    take_ipv6,
    take_secondary,
)


def assign_private(
    tx: Transaction,
    caller: Caller,
    interface_id: str,
    wanted: Sequence[str],
    count: int | None,
    *,
    allow_reassignment: bool = False,
) -> list[str]:
    """Assign secondary addresses to an interface and list them; with `allow_reassignment` also another interface's.

    Raises MalformedId, NotFound, MissingParameter, InvalidCombination, InvalidParameter, WrongState, LimitExceeded.
    """
    _check_one(wanted, count, "privateIpAddress", "secondaryPrivateIpAddressCount")
    interface = find_own(tx, caller, interface_id)
    subnet = tx.session.get_one(Subnet, interface.subnet_id)
    had = private_addresses.of(tx, interface.id, ipv6=False)
    named = [private_addresses.check_wanted(subnet, address) for address in dict.fromkeys(wanted)]
    missing = [address for address in named if address not in had]
    _check_number(tx, interface, len(had) + len(missing) + (count or 0))
    if allow_reassignment:
        for address in missing:
            _move(tx, interface, address)
        missing = [address for address in missing if private_addresses.holder(tx, subnet.id, address) is None]
    made = take_secondary(tx, subnet, interface.id, missing, count or 0)
    interface_changes.changed(tx, interface)
    return named or made


def unassign_private(
    tx: Transaction, caller: Caller, interface_id: str, addresses: Sequence[str], now: datetime
) -> None:
    """Unassign secondary addresses of an interface, and disassociate their Elastic IP addresses.

    Raises MalformedId, NotFound, MissingParameter, InvalidParameter, WrongState.
    """
    interface = _find_holder(tx, caller, interface_id, addresses, ipv6=False)
    if interface.private_address in addresses:
        raise InvalidParameter(
            f"The primary private address {interface.private_address} of '{interface.id}' cannot be unassigned"
        )
    address_pools.dissociate_elastic(tx, interface.id, now, addresses)
    private_addresses.release(tx, interface.id, addresses)
    interface_changes.changed(tx, interface)


def assign_ipv6(
    tx: Transaction, caller: Caller, interface_id: str, wanted: Sequence[str], count: int | None
) -> list[str]:
    """Assign IPv6 addresses of its subnet to an interface and list them.

    Raises MalformedId, NotFound, MissingParameter, InvalidCombination, InvalidParameter, WrongState, LimitExceeded.
    """
    _check_one(wanted, count, "ipv6Addresses", "ipv6AddressCount")
    interface = find_own(tx, caller, interface_id)
    subnet = tx.session.get_one(Subnet, interface.subnet_id)
    had = private_addresses.of(tx, interface.id, ipv6=True)
    missing = tuple(address for address in dict.fromkeys(wanted) if address not in had)
    _check_number(tx, interface, len(had) + len(missing) + (count or 0))
    made = take_ipv6(tx, subnet, interface.id, AddressRequest(ipv6=missing, ipv6_count=count or 0))
    interface_changes.changed(tx, interface)
    return made


def unassign_ipv6(tx: Transaction, caller: Caller, interface_id: str, addresses: Sequence[str]) -> None:
    """Unassign IPv6 addresses of an interface; raises as `unassign_private`.

    The primary one stays, and an interface without IPv4 keeps at least one.
    """
    interface = _find_holder(tx, caller, interface_id, addresses, ipv6=True)
    had = private_addresses.of(tx, interface.id, ipv6=True)
    if interface.primary_ipv6 and had[0] in addresses:
        raise InvalidParameter(f"The primary IPv6 address {had[0]} of '{interface.id}' cannot be unassigned")
    if interface.private_address is None and not {*had} - {*addresses}:
        raise InvalidParameter(
            f"The network interface '{interface.id}' is in an IPv6 only subnet: its last IPv6 address cannot be "
            "unassigned"
        )
    private_addresses.release(tx, interface.id, addresses)
    interface_changes.changed(tx, interface)


def _find_holder(
    tx: Transaction, caller: Caller, interface_id: str, addresses: Sequence[str], *, ipv6: bool
) -> NetworkInterface:
    interface = find_own(tx, caller, interface_id)
    if not addresses:
        raise MissingParameter("ipv6Addresses" if ipv6 else "privateIpAddresses")
    had = private_addresses.of(tx, interface.id, ipv6=ipv6)
    if not set(addresses) <= set(had):
        raise InvalidParameter(f"Some of [{', '.join(addresses)}] are not assigned to interface {interface.id}")
    return interface


def _move(tx: Transaction, interface: NetworkInterface, address: str) -> None:
    """Move another interface's secondary address to this one, with its Elastic IP address."""
    held = private_addresses.holder(tx, interface.subnet_id, address)
    if held is None:
        return
    loser = tx.session.get_one(NetworkInterface, held.interface_id)
    if held.primary or loser.account_id != interface.account_id or loser.requester_managed:
        raise WrongState("network-interface", f"Address {address} is in use.", code="InvalidIPAddress.InUse")
    tx.session.execute(
        update(PublicAddress)
        .where(PublicAddress.interface_id == loser.id, PublicAddress.private_address == address)
        .values(interface_id=interface.id)
    )
    tx.session.execute(
        update(InterfaceAddress)
        .where(InterfaceAddress.subnet_id == interface.subnet_id, InterfaceAddress.address == address)
        .values(interface_id=interface.id, position=private_addresses.next_position(tx, interface.id))
    )
    interface_changes.changed(tx, loser)


def _check_one(wanted: Sequence[str], count: int | None, list_name: str, count_name: str) -> None:
    if wanted and count is not None:
        raise InvalidCombination(f"The parameters {list_name} and {count_name} may not be used together")
    if not wanted and count is None:
        raise MissingParameter(f"{list_name} or {count_name}")
    if count is not None and count < 1:
        raise InvalidParameter(f"Value ({count}) for parameter {count_name} is invalid. It must be at least 1")


def _check_number(tx: Transaction, interface: NetworkInterface, number: int) -> None:
    instance = tx.session.get(Instance, interface.instance_id) if interface.instance_id else None
    if instance is not None:
        check_address_number(instance_types.find(tx, instance.instance_type), number)
    elif number > ADDRESSES_PER_INTERFACE:
        raise LimitExceeded(
            f"Number of private addresses will exceed limit ({ADDRESSES_PER_INTERFACE}).",
            code="PrivateIpAddressLimitExceeded",
        )
