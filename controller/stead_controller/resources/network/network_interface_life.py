"""Create and delete network interfaces, on their own, with an instance or for a NAT gateway.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateNetworkInterface.html.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from stead_controller.catalog import ids
from stead_controller.db.insert import insert_new, new_row
from stead_controller.db.tables import NetworkInterface, Subnet
from stead_controller.errors import InvalidCombination, InvalidParameter, LimitExceeded, WrongState
from stead_controller.request import client_tokens, lookup
from stead_controller.request.caller import Caller
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas, tags
from stead_controller.resources.network import address_pools as addresses
from stead_controller.resources.network import interface_changes, interface_groups, private_addresses
from stead_controller.resources.network.connection_tracking import IdleTimeouts

ADDRESSES_PER_INTERFACE: Final = 50
"""The maximum of any instance type: the limit of an interface that is not attached."""
_DESCRIPTION_LENGTH: Final = 255


@dataclass(frozen=True, slots=True)
class AddressRequest:
    """The requested private addresses: `primary` None means any; counts are numbers of addresses to be chosen.

    With `primary_ipv6`, the interface's first IPv6 address cannot be unassigned.
    """

    primary: str | None = None
    secondary: tuple[str, ...] = ()
    secondary_count: int = 0
    ipv6: tuple[str, ...] = ()
    ipv6_count: int | None = None
    primary_ipv6: bool = False

    @property
    def ipv4_number(self) -> int:
        """The number of IPv4 addresses, in a subnet that has any."""
        return 1 + len(self.secondary) + self.secondary_count

    @property
    def names_ipv4(self) -> bool:
        """Whether the request needs a subnet with IPv4."""
        return self.primary is not None or bool(self.secondary) or self.secondary_count > 0


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """CreateNetworkInterface, parsed; `digest` is that of all parameters (for ClientToken)."""

    subnet_id: str
    addresses: AddressRequest = field(default_factory=AddressRequest)
    group_ids: tuple[str, ...] = ()
    description: str = ""
    idle_timeouts: IdleTimeouts = field(default_factory=IdleTimeouts)
    client_token: str = ""
    digest: str = ""
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def create(tx: Transaction, caller: Caller, request: CreateRequest, now: datetime) -> str:
    """Create an interface and return its id; a repeated ClientToken returns the first one's.

    Raises MalformedId, NotFound, InvalidParameter, InvalidCombination, LimitExceeded, IdempotencyMismatch.
    """
    repeatable = Repeatable("CreateNetworkInterface", request.client_token, request.digest)
    known = client_tokens.replay_request(tx, caller, repeatable, now)
    if known is not None:
        return known
    subnet = lookup.find(tx, caller, "subnet", Subnet, request.subnet_id)
    group_ids = interface_groups.choose(tx, caller, subnet.vpc_id, request.group_ids)
    _check_quota(tx, subnet.account_id)
    columns = {"description": request.description, "status": "available", "requester_id": caller.user_id}
    interface = add(tx, subnet, request.addresses, group_ids, now, **columns, **request.idle_timeouts.columns())
    tags.create_on_launch(tx, caller, [("network-interface", interface.id)], request.tags)
    client_tokens.remember_request(tx, caller, repeatable, interface.id, now)
    interface_changes.changed(tx, interface)
    return interface.id


def add(
    tx: Transaction, subnet: Subnet, request: AddressRequest, group_ids: Sequence[str], now: datetime, **columns: Any
) -> NetworkInterface:
    """Add the rows of a new interface of the subnet's owner; raises as `build`."""
    interface = build(tx, subnet, request, now, **columns)
    interface_groups.join(tx, interface.id, group_ids)
    return interface


def build(tx: Transaction, subnet: Subnet, request: AddressRequest, now: datetime, **columns: Any) -> NetworkInterface:
    """Reserve the addresses of a new interface of the subnet's owner and add its row.

    `columns` are further columns of the row. Raises InvalidParameter, InvalidCombination, WrongState (an address in
    use), LimitExceeded.
    """
    _check(request, columns.get("description", ""))
    _check_family(subnet, request)
    interface_id = ids.new_id("network-interface")
    take_secondary(tx, subnet, interface_id, request.secondary, 0)  # first, so that none is chosen as the primary
    primary = None
    if subnet.cidr_block is not None:
        primary = private_addresses.take(tx, subnet, interface_id, request.primary, primary=True)
    take_secondary(tx, subnet, interface_id, (), request.secondary_count)
    take_ipv6(tx, subnet, interface_id, request)
    interface = new_row(
        NetworkInterface,
        id=interface_id,
        account_id=subnet.account_id,
        vpc_id=subnet.vpc_id,
        subnet_id=subnet.id,
        zone=subnet.zone,
        mac_address=addresses.new_mac(tx),
        private_address=primary,
        primary_ipv6=request.primary_ipv6,
        created=now,
        **columns,
    )
    insert_new(tx.session, interface)
    return interface


def take_secondary(tx: Transaction, subnet: Subnet, interface_id: str, wanted: Sequence[str], count: int) -> list[str]:
    """Assign further IPv4 addresses, the named ones and `count` others; raises as `private_addresses.take`."""
    return [
        private_addresses.take(tx, subnet, interface_id, address, primary=False)
        for address in (*wanted, *[None] * count)
    ]


def take_ipv6(tx: Transaction, subnet: Subnet, interface_id: str, request: AddressRequest) -> list[str]:
    """Assign IPv6 addresses: the named ones and a number of others, or those that its subnet assigns automatically."""
    blocks = [subnet.ipv6_cidr_block] if subnet.ipv6_cidr_block is not None else []
    return [
        private_addresses.take_ipv6(tx, subnet, blocks, interface_id, address)
        for address in (*request.ipv6, *[None] * _chosen_ipv6(subnet, request))
    ]


def _chosen_ipv6(subnet: Subnet, request: AddressRequest) -> int:
    """Return how many IPv6 addresses are assigned that the request does not name."""
    if request.ipv6_count is None:
        return int(subnet.assign_ipv6_address and not request.ipv6)
    return request.ipv6_count


def has_one_address(subnet: Subnet, request: AddressRequest) -> bool:
    """Tell whether a new interface gets its primary IPv4 address and no other."""
    has_ipv6 = bool(request.ipv6) or _chosen_ipv6(subnet, request) > 0
    return subnet.cidr_block is not None and request.ipv4_number == 1 and not has_ipv6


def require_ipv6(subnet: Subnet) -> None:
    """Raise InvalidParameter for a subnet without IPv6 addresses."""
    if subnet.ipv6_cidr_block is None:
        raise InvalidParameter(f"The subnet '{subnet.id}' has no IPv6 CIDR block associated with it")


def delete(tx: Transaction, caller: Caller, interface_id: str, now: datetime) -> None:
    """Delete an interface that is not attached; raises MalformedId, NotFound, WrongState."""
    interface = lookup.find(tx, caller, "network-interface", NetworkInterface, interface_id)
    if interface.attachment_id is not None:
        raise WrongState(
            "network-interface",
            f"Network interface '{interface.id}' is currently in use.",
            code="InvalidParameterValue",
        )
    remove(tx, interface, now)


def remove(tx: Transaction, interface: NetworkInterface, now: datetime) -> None:
    """Delete an interface with its addresses, associations and tags; the caller must notify hosts that have it."""
    addresses.release_public(tx, interface.id, now)
    addresses.dissociate_elastic(tx, interface.id, now)
    tags.remove_all(tx, [interface.id])
    tx.session.delete(interface)
    interface_changes.gone(tx, interface)


def _check_family(subnet: Subnet, request: AddressRequest) -> None:
    """Raise InvalidCombination for IPv4 addresses, or no IPv6 address, in an IPv6-only subnet.

    Raises InvalidParameter for a primary IPv6 address where the subnet has no IPv6 addresses.
    """
    if request.primary_ipv6:
        require_ipv6(subnet)
    if subnet.cidr_block is not None:
        return
    if request.names_ipv4:
        raise InvalidCombination(f"Private IPv4 addresses cannot be specified in the IPv6 only subnet '{subnet.id}'")
    if request.ipv6_count == 0 and not request.ipv6:
        raise InvalidCombination(
            f"A network interface in the IPv6 only subnet '{subnet.id}' has at least one IPv6 address"
        )


def _check(request: AddressRequest, description: str) -> None:
    if request.secondary and request.secondary_count:
        raise InvalidCombination(
            "The parameters secondaryPrivateIpAddressCount and privateIpAddresses may not be used together"
        )
    if request.ipv6 and request.ipv6_count:
        raise InvalidCombination("The parameters ipv6AddressCount and ipv6Addresses may not be used together")
    if request.secondary_count < 0 or (request.ipv6_count or 0) < 0:
        raise InvalidParameter("The number of addresses must not be negative")
    if max(request.ipv4_number, len(request.ipv6) + (request.ipv6_count or 0)) > ADDRESSES_PER_INTERFACE:
        raise LimitExceeded(
            f"Number of private addresses will exceed limit ({ADDRESSES_PER_INTERFACE}).",
            code="PrivateIpAddressLimitExceeded",
        )
    if len(description) > _DESCRIPTION_LENGTH:
        raise InvalidParameter(f"The description may have at most {_DESCRIPTION_LENGTH} characters")


def _check_quota(tx: Transaction, account_id: str) -> None:
    quotas.check(
        tx,
        account_id,
        quotas.NETWORK_INTERFACES,
        NetworkInterface.id,
        NetworkInterface.account_id == account_id,
    )
