"""Attributes of one network interface: described one at a time, changed one at a time.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyNetworkInterfaceAttribute.html.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from stead_controller.db.tables import InterfaceGroup, NetworkInterface, SecurityGroup, Subnet
from stead_controller.errors import InvalidCombination, InvalidParameter, MissingParameter, NotFound, WrongState
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.network import address_pools, interface_changes, interface_groups
from stead_controller.resources.network.connection_tracking import IdleTimeouts
from stead_controller.resources.network.network_interface_life import require_ipv6
from stead_controller.resources.network.network_interfaces import GroupIdentifier

_DESCRIPTION_LENGTH = 255


@dataclass(frozen=True, slots=True)
class DescribedAttribute:
    """One attribute of an interface by EC2's name; values that are not in the row are set only if requested."""

    interface: NetworkInterface
    name: str
    groups: Sequence[GroupIdentifier] = ()
    has_public_address: bool = False


def describe(tx: Transaction, caller: Caller, interface_id: str, attribute: str) -> DescribedAttribute:
    """Find one attribute of the caller's interface.

    Raises MalformedId, NotFound, InvalidCombination, InvalidParameter.
    """
    interface = lookup.find(tx, caller, "network-interface", NetworkInterface, interface_id)
    match attribute:
        case "description" | "sourceDestCheck" | "attachment":
            return DescribedAttribute(interface, attribute)
        case "groupSet":
            return DescribedAttribute(interface, attribute, groups=_groups(tx, interface))
        case "associatePublicIpAddress":
            public = address_pools.public_of(tx, interface)
            return DescribedAttribute(interface, attribute, has_public_address=public is not None)
        case "":
            raise InvalidCombination("No attributes specified.")
        case _:
            raise InvalidParameter(f"Value ( {attribute} ) for parameter attribute is invalid. Unknown attribute.")


def set_description(tx: Transaction, caller: Caller, interface_id: str, description: str) -> None:
    """Set the description; raises MalformedId, NotFound, InvalidParameter, WrongState."""
    interface = find_own(tx, caller, interface_id)
    if len(description) > _DESCRIPTION_LENGTH:
        raise InvalidParameter(f"The description may have at most {_DESCRIPTION_LENGTH} characters")
    interface.description = description


def set_source_dest_check(tx: Transaction, caller: Caller, interface_id: str, *, value: bool) -> None:
    """Set whether the interface may only send and receive as itself; raises MalformedId, NotFound, WrongState."""
    interface = find_own(tx, caller, interface_id)
    interface.source_dest_check = value
    interface_changes.changed(tx, interface)


def set_idle_timeouts(tx: Transaction, caller: Caller, interface_id: str, request: IdleTimeouts) -> None:
    """Set the idle timeouts of new connections; those not in the request stay.

    Raises MalformedId, NotFound, InvalidParameter, WrongState.
    """
    interface = find_own(tx, caller, interface_id)
    for column, seconds in request.columns().items():
        setattr(interface, column, seconds)
    interface_changes.changed(tx, interface)


def set_groups(tx: Transaction, caller: Caller, interface_id: str, group_ids: Sequence[str]) -> None:
    """Put the interface into exactly these groups; raises MalformedId, NotFound, LimitExceeded, WrongState."""
    if not group_ids:
        raise MissingParameter("SecurityGroupId")
    interface = find_own(tx, caller, interface_id)
    wanted = interface_groups.choose(tx, caller, interface.vpc_id, group_ids)
    interface_groups.replace(tx, interface, wanted)
    interface_changes.changed(tx, interface)


def set_delete_on_termination(
    tx: Transaction, caller: Caller, interface_id: str, attachment_id: str, *, value: bool
) -> None:
    """Set whether the interface is deleted with the instance that it is attached to; raises MalformedId, NotFound."""
    interface = find_own(tx, caller, interface_id)
    lookup.check_form("network-interface-attachment", [attachment_id])
    if interface.attachment_id != attachment_id:
        raise NotFound("network-interface-attachment", attachment_id)
    interface.delete_on_termination = value


def set_primary_ipv6(tx: Transaction, caller: Caller, interface_id: str, *, value: bool) -> None:
    """Make the interface's first IPv6 address, present or future, its primary one until it is detached.

    Raises MalformedId, NotFound, InvalidParameter to disable it or in a subnet without IPv6, WrongState.
    """
    interface = find_own(tx, caller, interface_id)
    if value:
        require_ipv6(tx.session.get_one(Subnet, interface.subnet_id))
    elif interface.primary_ipv6:
        raise InvalidParameter(f"The primary IPv6 address of '{interface.id}' cannot be disabled once it is enabled")
    interface.primary_ipv6 = value


def set_associate_public_address(
    tx: Transaction, caller: Caller, cloud: Cloud, interface_id: str, now: datetime, *, value: bool
) -> None:
    """Set whether a primary interface has an automatic public address while its instance runs; applied at once.

    Raises MalformedId, NotFound, InvalidParameter for one without IPv4, WrongState, LimitExceeded.
    """
    interface = find_own(tx, caller, interface_id)
    if value and interface.private_address is None:
        raise InvalidParameter(f"The network interface '{interface.id}' has no private IPv4 address")
    interface.associate_public_address = value
    has_one = address_pools.public_of(tx, interface) is not None
    if not value:
        address_pools.release_public(tx, interface.id, now)
    elif interface.device_index == 0 and not has_one and address_pools.is_powered(tx, interface):
        address_pools.take_public(tx, cloud, interface.account_id, interface, now)
    interface_changes.changed(tx, interface)


def find_own(tx: Transaction, caller: Caller, interface_id: str) -> NetworkInterface:
    """Return an interface that its owner may change; raises MalformedId, NotFound, WrongState."""
    interface = lookup.find(tx, caller, "network-interface", NetworkInterface, interface_id)
    if interface.requester_managed:
        raise WrongState(
            "network-interface",
            f"You do not have permission to modify the network interface '{interface.id}': it is managed for you.",
            code="OperationNotPermitted",
        )
    return interface


def _groups(tx: Transaction, interface: NetworkInterface) -> list[GroupIdentifier]:
    query = (
        select(SecurityGroup.id, SecurityGroup.name)
        .join(InterfaceGroup, InterfaceGroup.group_id == SecurityGroup.id)
        .where(InterfaceGroup.interface_id == interface.id)
        .order_by(SecurityGroup.id)
    )
    return [GroupIdentifier(group_id, name) for group_id, name in tx.session.execute(query)]
