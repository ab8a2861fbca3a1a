"""The network interfaces of a launch: parse and check the request, and create them.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_InstanceNetworkInterfaceSpecification.html.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from stead_controller.catalog import ids
from stead_controller.catalog.instance_type import InstanceType
from stead_controller.db.tables import Instance, NetworkInterface, Subnet
from stead_controller.errors import InvalidCombination, InvalidParameter
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.network import interface_groups, network_interface_life
from stead_controller.resources.network import network_interface_attachments as attachments
from stead_controller.resources.network.connection_tracking import IdleTimeouts
from stead_controller.resources.network.network_interface_life import AddressRequest


@dataclass(frozen=True, slots=True)
class InterfaceRequest:
    """One interface of each instance: a new one or, with `interface_id`, one that exists; None is EC2's default."""

    device_index: int = 0
    interface_id: str | None = None
    subnet_id: str | None = None
    group_ids: tuple[str, ...] = ()
    group_names: tuple[str, ...] = ()
    addresses: AddressRequest = field(default_factory=AddressRequest)
    associate_public_address: bool | None = None
    description: str = ""
    delete_on_termination: bool | None = None
    idle_timeouts: IdleTimeouts = field(default_factory=IdleTimeouts)


@dataclass(frozen=True, slots=True)
class InterfacePlan:
    """A checked request with what it names; `public` tells whether a new one gets an automatic public address."""

    request: InterfaceRequest
    subnet: Subnet
    group_ids: tuple[str, ...]
    existing: NetworkInterface | None
    public: bool


def plan(
    tx: Transaction,
    caller: Caller,
    requests: Sequence[InterfaceRequest],
    kind: InstanceType,
    *,
    many: bool,
    find_subnet: Callable[[str | None], Subnet],
) -> tuple[InterfacePlan, ...]:
    """Check the interfaces of a launch, of several instances when `many`; the primary one is first in the answer.

    `find_subnet` gives the subnet of an id, or where an instance goes that names none. Raises MalformedId, NotFound,
    InvalidParameter, InvalidCombination, LimitExceeded, WrongState.
    """
    _check_indices(requests)
    attachments.check_number(kind, len(requests))
    plans = []
    for request in sorted(requests, key=lambda request: request.device_index):
        _check_request(request, kind, many=many, alone=len(requests) == 1)
        plans.append(_plan_one(tx, caller, request, kind, find_subnet, alone=len(requests) == 1))
    _check_places(plans)
    return tuple(plans)


def _plan_one(
    tx: Transaction,
    caller: Caller,
    request: InterfaceRequest,
    kind: InstanceType,
    find_subnet: Callable[[str | None], Subnet],
    *,
    alone: bool,
) -> InterfacePlan:
    if request.interface_id is not None:
        existing = lookup.find(tx, caller, "network-interface", NetworkInterface, request.interface_id)
        attachments.require_free(existing)
        attachments.check_addresses(tx, existing, kind)
        return InterfacePlan(request, tx.session.get_one(Subnet, existing.subnet_id), (), existing, public=False)
    subnet = find_subnet(request.subnet_id)
    if subnet.cidr_block is None and request.associate_public_address:
        raise InvalidCombination(
            f"The associatePublicIPAddress parameter cannot be specified in the IPv6 only subnet '{subnet.id}'"
        )
    named = interface_groups.ids_of(tx, caller, subnet.vpc_id, request.group_names)
    group_ids = interface_groups.choose(tx, caller, subnet.vpc_id, (*request.group_ids, *named), subnet.id)
    public = request.associate_public_address
    if public is None:
        public = alone and subnet.map_public_address
    return InterfacePlan(request, subnet, group_ids, None, public)


def _check_indices(requests: Sequence[InterfaceRequest]) -> None:
    indices = [request.device_index for request in requests]
    if len(set(indices)) != len(indices):
        raise InvalidCombination("Each network interface requires a unique device index.")
    if 0 not in indices or min(indices) < 0:
        raise InvalidParameter("The first network interface must have the device index 0.")
    existing = [request.interface_id for request in requests if request.interface_id is not None]
    if len(set(existing)) != len(existing):
        raise InvalidCombination("A network interface can be attached once only.")


def _check_request(request: InterfaceRequest, kind: InstanceType, *, many: bool, alone: bool) -> None:
    if request.associate_public_address and not alone:
        raise InvalidCombination(
            "The associatePublicIPAddress parameter cannot be specified when launching with multiple network "
            "interfaces."
        )
    if request.interface_id is not None:
        if request.delete_on_termination:
            raise InvalidCombination(
                "A network interface may not specify a network interface ID and delete on termination as true"
            )
        if request != InterfaceRequest(
            request.device_index, request.interface_id, delete_on_termination=request.delete_on_termination
        ):
            raise InvalidCombination(
                "A network interface may not specify a network interface ID and a subnet, addresses, groups, a "
                "description or a connection tracking specification on the same request"
            )
        if many:
            raise InvalidCombination("A network interface can be given to one instance only")
        return
    asked = request.addresses
    if many and (asked.primary is not None or asked.secondary or asked.ipv6):
        raise InvalidCombination("A private address can be given to one instance only")
    attachments.check_address_number(kind, asked.ipv4_number)
    attachments.check_address_number(kind, len(asked.ipv6) + (asked.ipv6_count or 0))


def _check_places(plans: Sequence[InterfacePlan]) -> None:
    first = plans[0].subnet
    for each in plans[1:]:
        if each.subnet.zone != first.zone:
            raise InvalidCombination("Network interfaces of one instance must be in the same availability zone")


def build(
    tx: Transaction, caller: Caller, instance: Instance, plans: Sequence[InterfacePlan], now: datetime
) -> list[NetworkInterface]:
    """Create or attach the interfaces of an instance, in the order of the plans."""
    return [_build_one(tx, caller, instance, each, now) for each in plans]


def _build_one(
    tx: Transaction, caller: Caller, instance: Instance, each: InterfacePlan, now: datetime
) -> NetworkInterface:
    delete = each.request.delete_on_termination
    if each.existing is not None:
        attachments.plug(each.existing, instance, each.request.device_index, now, state="attached")
        return each.existing
    return network_interface_life.build(
        tx,
        each.subnet,
        each.request.addresses,
        now,
        description=each.request.description,
        status="in-use",
        requester_id=caller.user_id,
        host_id=instance.host_id,
        instance_id=instance.id,
        attachment_id=ids.new_id("network-interface-attachment"),
        device_index=each.request.device_index,
        attachment_state="attached",
        attach_time=now,
        delete_on_termination=delete is not False,
        associate_public_address=each.public,
        **each.request.idle_timeouts.columns(),
    )
