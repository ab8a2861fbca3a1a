"""Associate Elastic IP addresses with private addresses of network interfaces, move, disassociate and release them.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_AssociateAddress.html.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from stead_controller.catalog import ids
from stead_controller.db.tables import ElasticAddress, Instance, InternetGateway, NetworkInterface, PublicAddress, Vpc
from stead_controller.errors import (
    AlreadyExists,
    InvalidCombination,
    InvalidParameter,
    MissingParameter,
    NotFound,
    WrongState,
)
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags
from stead_controller.resources.network import (
    address_pools,
    address_usage,
    elastic_addresses,
    interface_changes,
    network_interface_attachments,
    private_addresses,
)


@dataclass(frozen=True, slots=True)
class Target:
    """The target of an association: an instance with one interface, or an interface; None means primary."""

    instance_id: str | None = None
    interface_id: str | None = None
    private_address: str | None = None


def associate(
    tx: Transaction,
    caller: Caller,
    elastic: ElasticAddress,
    target: Target,
    now: datetime,
    *,
    allow_reassociation: bool = True,
) -> str:
    """Associate an address, ending its previous association, and return the association's id.

    An automatic address of the same private address is released, another elastic one disassociated. Raises
    MissingParameter, InvalidCombination, InvalidParameter, MalformedId, NotFound, WrongState, AlreadyExists.
    """
    interface = _find_target(tx, caller, target)
    require_own(interface)
    private_address = target.private_address or interface.private_address
    if private_address is None:
        raise InvalidParameter(f"The network interface '{interface.id}' has no private IPv4 address")
    if private_address not in private_addresses.of(tx, interface.id, ipv6=False):
        raise InvalidParameter(f"The private address {private_address} is not assigned to interface {interface.id}")
    require_gateway(tx, interface.vpc_id)
    held = tx.session.get_one(PublicAddress, elastic.address)
    if held.interface_id == interface.id and held.private_address == private_address:
        return held.association_id or ""
    if address_pools.is_unclaimed(tx, elastic.address):
        raise WrongState("elastic-ip", f"Address {elastic.address} is in use.", code="InvalidIPAddress.InUse")
    if held.interface_id is not None:
        if not allow_reassociation:
            raise _already(f"resource {elastic.id} is already associated with associate-id {held.association_id}")
        _leave(tx, held)
    _make_room(tx, interface, private_address, now, allow_reassociation=allow_reassociation)
    association_id = ids.new_id("elastic-ip-association")
    held.interface_id, held.private_address, held.association_id = interface.id, private_address, association_id
    address_usage.measure(tx, held, now)
    interface_changes.changed(tx, interface)
    return association_id


def disassociate(
    tx: Transaction, caller: Caller, association_id: str | None, public_address: str | None, now: datetime
) -> None:
    """End an association, which must be named by its id; the address stays allocated.

    Raises MissingParameter, InvalidParameter, InvalidCombination, MalformedId, NotFound, NotAuthorized, WrongState.
    """
    if association_id is not None and public_address is not None:
        raise InvalidCombination("You may specify public IP or association id, but not both in the same call")
    if association_id is None:
        if public_address is None:
            raise MissingParameter("AssociationId or PublicIp")
        elastic_addresses.find(tx, caller, None, public_address)
        raise InvalidParameter("You must specify an association id when unmapping an address from a VPC instance")
    held = _find_association(tx, caller, association_id)
    require_own(tx.session.get_one(NetworkInterface, held.interface_id))
    _leave(tx, held)
    address_usage.measure(tx, held, now)


def release(
    tx: Transaction, caller: Caller, allocation_id: str | None, public_address: str | None, now: datetime
) -> None:
    """Release an address, which must be named by its allocation id; it rests before it is reused.

    In a default VPC that ends its association too; in another VPC it must have none. Raises MissingParameter,
    InvalidParameter, MalformedId, NotFound, NotAuthorized, WrongState while in use.
    """
    elastic = elastic_addresses.find(tx, caller, allocation_id, public_address)
    if allocation_id is None:
        raise InvalidParameter("You must specify an allocation id when releasing a VPC elastic IP address")
    held = tx.session.get_one(PublicAddress, elastic.address)
    if held.interface_id is not None:
        interface = tx.session.get_one(NetworkInterface, held.interface_id)
        if interface.requester_managed or not tx.session.get_one(Vpc, interface.vpc_id).is_default:
            raise WrongState("elastic-ip", f"Address {elastic.address} is in use.", code="InvalidIPAddress.InUse")
        _leave(tx, held)
    held.allocation_id = None
    held.released = now
    address_usage.end(tx, elastic.account_id, elastic.id, now)
    tags.remove_all(tx, [elastic.id])
    tx.session.delete(elastic)
    tx.session.flush()


def require_gateway(tx: Transaction, vpc_id: str) -> None:
    """Raise WrongState (Gateway.NotAttached) for a VPC without an internet gateway."""
    if not has_gateway(tx, vpc_id):
        raise WrongState("vpc", f"Network {vpc_id} is not attached to any internet gateway", code="Gateway.NotAttached")


def has_gateway(tx: Transaction, vpc_id: str) -> bool:
    """Tell whether an internet gateway is attached to a VPC."""
    query = select(InternetGateway.id).where(InternetGateway.vpc_id == vpc_id)
    return tx.session.scalar(query) is not None


def require_own(interface: NetworkInterface) -> None:
    """Raise WrongState for an interface that the cloud manages, whose associations its owner may not change."""
    if interface.requester_managed:
        raise WrongState(
            "network-interface",
            f"You do not have permission to change the addresses of '{interface.id}': it is managed for you.",
            code="OperationNotPermitted",
        )


def _find_target(tx: Transaction, caller: Caller, target: Target) -> NetworkInterface:
    if target.interface_id is not None:
        interface = lookup.find(tx, caller, "network-interface", NetworkInterface, target.interface_id)
        if target.instance_id is not None and interface.instance_id != target.instance_id:
            raise InvalidCombination(
                f"The network interface '{interface.id}' is not attached to the instance '{target.instance_id}'"
            )
        return interface
    if target.instance_id is None:
        raise MissingParameter("InstanceId or NetworkInterfaceId")
    instance = lookup.find(tx, caller, "instance", Instance, target.instance_id)
    if instance.state in ("shutting-down", "terminated"):
        raise WrongState(
            "instance",
            f"The {instance.state} instance '{instance.id}' is not in a valid state for this operation.",
            code="InvalidInstanceID",
        )
    return network_interface_attachments.only_one_of(tx, instance)


def _find_association(tx: Transaction, caller: Caller, association_id: str) -> PublicAddress:
    lookup.check_form("elastic-ip-association", [association_id])
    found = tx.session.scalar(
        select(PublicAddress).where(
            PublicAddress.association_id == association_id, PublicAddress.account_id == caller.account_id
        )
    )
    if found is None:
        raise NotFound("elastic-ip-association", association_id)
    return found


def _leave(tx: Transaction, held: PublicAddress) -> None:
    """Remove an address from the interface that it is associated with."""
    interface = tx.session.get_one(NetworkInterface, held.interface_id)
    require_own(interface)
    held.interface_id = held.private_address = held.association_id = None
    interface_changes.changed(tx, interface)


def _make_room(
    tx: Transaction, interface: NetworkInterface, private_address: str, now: datetime, *, allow_reassociation: bool
) -> None:
    """Remove the public address of a private one: an automatic one is released, an elastic one stays allocated."""
    here = tx.session.scalar(
        select(PublicAddress).where(
            PublicAddress.interface_id == interface.id, PublicAddress.private_address == private_address
        )
    )
    if here is None:
        return
    if here.allocation_id is not None and not allow_reassociation:
        raise _already(f"resource {interface.id} is already associated with address {here.address}")
    here.interface_id = here.private_address = here.association_id = None
    if here.allocation_id is None:
        here.released = now
        address_usage.end(tx, here.account_id, interface.id, now)
    else:
        address_usage.measure(tx, here, now)
    tx.session.flush()


def _already(message: str) -> AlreadyExists:
    return AlreadyExists("elastic-ip", message)
