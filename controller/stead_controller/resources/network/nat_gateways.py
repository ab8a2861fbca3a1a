"""NAT gateways: create them in a subnet on a host of its zone, find and delete them, and apply their host's reports.

See https://docs.aws.amazon.com/vpc/latest/userguide/vpc-nat-gateway.html.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import select

from stead_controller.catalog import ids
from stead_controller.db.tables import ElasticAddress, NatGateway, NetworkInterface, PublicAddress, Subnet
from stead_controller.desired import desired_state, topics
from stead_controller.errors import (
    AlreadyExists,
    InvalidCombination,
    InvalidParameter,
    LimitExceeded,
    MissingParameter,
)
from stead_controller.metering import ledger, uses
from stead_controller.metering.ledger import Resource
from stead_controller.request import client_tokens, lookup
from stead_controller.request.caller import Caller
from stead_controller.request.client_tokens import Repeatable
from stead_controller.request.conditions import Condition, Selection, text
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas, tags
from stead_controller.resources.host_capacity import capacity
from stead_controller.resources.network import (
    address_usage,
    elastic_addresses,
    network_interface_life,
    notify_topology,
)
from stead_controller.resources.network.elastic_address_associations import has_gateway
from stead_controller.resources.network.network_interface_life import AddressRequest

_TYPE: Final = "natgateway"
_WORKING: Final = ("pending", "available")
_LIVE: Final = (*_WORKING, "deleting")
_AT_ONCE: Final = 20

FILTERS: Final[dict[str, Condition]] = {
    "nat-gateway-id": text(NatGateway.id),
    "state": text(NatGateway.state),
    "subnet-id": text(NatGateway.subnet_id),
    "vpc-id": text(NatGateway.vpc_id),
}


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """CreateNatGateway, parsed; `digest` is that of all parameters (for ClientToken)."""

    subnet_id: str
    connectivity: str = "public"
    allocation_id: str | None = None
    private_address: str | None = None
    client_token: str = ""
    digest: str = ""
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DescribedNatGateway:
    """A NAT gateway with its tags."""

    gateway: NatGateway
    tags: Sequence[tuple[str, str]]


def describe(tx: Transaction, caller: Caller, asked: Selection) -> list[DescribedNatGateway]:
    """Find the caller's NAT gateways, sorted by id; raises MalformedId, NotFound."""
    found = lookup.select_page(tx, caller, _TYPE, NatGateway, asked, conditions=FILTERS)
    tagged = tags.pairs_of(tx, caller.account_id, [gateway.id for gateway in found])
    return [DescribedNatGateway(gateway, tagged.get(gateway.id, ())) for gateway in found]


def create(tx: Transaction, caller: Caller, request: CreateRequest, now: datetime) -> str:
    """Create a gateway and return its id; a repeated ClientToken returns the first one's.

    Errors found during creation lead to the state `failed`, as in EC2. Raises MissingParameter,
    InvalidCombination, InvalidParameter, MalformedId, NotFound, AlreadyExists, WrongState, LimitExceeded.
    """
    repeatable = Repeatable("CreateNatGateway", request.client_token, request.digest)
    known = client_tokens.replay_request(tx, caller, repeatable, now)
    if known is not None:
        return known
    subnet = lookup.find(tx, caller, "subnet", Subnet, request.subnet_id)
    if subnet.cidr_block is None:
        raise InvalidParameter(f"The subnet '{subnet.id}' is an IPv6 only subnet: a NAT gateway needs IPv4 addresses")
    elastic = _elastic(tx, caller, request)
    _check_quota(tx, subnet)
    gateway = NatGateway(
        id=ids.new_id(_TYPE),
        account_id=caller.account_id,
        vpc_id=subnet.vpc_id,
        subnet_id=subnet.id,
        connectivity=request.connectivity,
        state="pending",
        state_changed=now,
        created=now,
        allocation_id=elastic.id if elastic is not None else None,
        public_address=elastic.address if elastic is not None else None,
    )
    tx.session.add(gateway)
    tx.session.flush()
    tags.create_on_launch(tx, caller, [(_TYPE, gateway.id)], request.tags)
    _begin(tx, gateway, subnet, request.private_address, now)
    client_tokens.remember_request(tx, caller, repeatable, gateway.id, now)
    return gateway.id


def _elastic(tx: Transaction, caller: Caller, request: CreateRequest) -> ElasticAddress | None:
    """Return the Elastic IP address of a public gateway; a private one has none."""
    if request.connectivity not in ("public", "private"):
        raise InvalidParameter(f"Value ({request.connectivity}) for parameter connectivityType is invalid.")
    if request.connectivity == "private":
        if request.allocation_id is not None:
            raise InvalidCombination("AllocationId cannot be specified with the connectivity type private")
        return None
    if request.allocation_id is None:
        raise MissingParameter("AllocationId")
    elastic = elastic_addresses.find(tx, caller, request.allocation_id, None)
    held = tx.session.get_one(PublicAddress, elastic.address)
    if held.interface_id is not None:
        raise AlreadyExists("elastic-ip", f"Elastic IP address [{elastic.id}] is already associated")
    return elastic


def _check_quota(tx: Transaction, subnet: Subnet) -> None:
    quotas.check(
        tx,
        subnet.account_id,
        quotas.NAT_GATEWAYS_PER_ZONE,
        NatGateway.id,
        NatGateway.account_id == subnet.account_id,
        NatGateway.state.in_(_LIVE),
        NatGateway.subnet_id.in_(select(Subnet.id).where(Subnet.zone == subnet.zone)),
    )


def _begin(tx: Transaction, gateway: NatGateway, subnet: Subnet, private_address: str | None, now: datetime) -> None:
    """Assign host, interface and addresses to a gateway, or set the reason why it failed."""
    if gateway.connectivity == "public" and not has_gateway(tx, subnet.vpc_id):
        _fail(tx, gateway, "Gateway.NotAttached", f"Network {subnet.vpc_id} has no Internet gateway attached", now)
        return
    home = capacity.choose_any(tx, subnet.zone)
    if home is None:
        _fail(tx, gateway, "InternalError", f"There is no host up in the Availability Zone {subnet.zone}", now)
        return
    try:
        interface = _add_interface(tx, gateway, subnet, private_address, home, now)
    except LimitExceeded as error:
        if error.code != "InsufficientFreeAddressesInSubnet":
            raise
        _fail(
            tx,
            gateway,
            error.code,
            f"Subnet {subnet.id} has insufficient free addresses to create this NAT gateway",
            now,
        )
        return
    gateway.host_id = home
    gateway.interface_id = interface.id
    gateway.private_address = interface.private_address
    if gateway.public_address is not None:
        held = tx.session.get_one(PublicAddress, gateway.public_address)
        gateway.association_id = ids.new_id("elastic-ip-association")
        held.interface_id, held.private_address = interface.id, interface.private_address
        held.association_id = gateway.association_id
        address_usage.measure(tx, held, now)
    desired_state.refresh_nat_gateway(tx, gateway.id)


def _add_interface(  # noqa: PLR0917 — what the interface consists of
    tx: Transaction, gateway: NatGateway, subnet: Subnet, private_address: str | None, host_id: str, now: datetime
) -> NetworkInterface:
    return network_interface_life.add(
        tx,
        subnet,
        AddressRequest(primary=private_address, ipv6_count=0),
        (),
        now,
        description=f"Interface for NAT Gateway {gateway.id}",
        status="in-use",
        interface_type="nat_gateway",
        requester_managed=True,
        source_dest_check=False,
        nat_gateway_id=gateway.id,
        host_id=host_id,
        attachment_id=ids.new_id("network-interface-attachment"),
        device_index=1,
        attachment_state="attached",
        attach_time=now,
    )


def delete(tx: Transaction, caller: Caller, gateway_id: str, now: datetime) -> None:
    """Begin to delete a gateway; its host reports the end. The request may be repeated while the gateway is shown.

    Raises MalformedId, NotFound.
    """
    gateway = lookup.find(tx, caller, _TYPE, NatGateway, gateway_id)
    if gateway.state in ("deleting", "deleted"):
        return
    _change(tx, gateway, "deleting", now)
    notify_topology.target(tx, gateway.id)
    if gateway.host_id is None or gateway.interface_id is None:
        settle_deleted(tx, gateway, now)
    else:
        desired_state.remove_nat_gateway(tx, gateway.host_id, gateway.id, gateway.interface_id)


def settle_available(tx: Transaction, gateway: NatGateway, now: datetime) -> None:
    """Record that a gateway works on its host."""
    gateway.host_error = ""
    if gateway.state == "pending":
        _change(tx, gateway, "available", now)


def settle_deleted(tx: Transaction, gateway: NatGateway, now: datetime) -> None:
    """Record that a gateway is removed from its host: its addresses are released, and it is shown for a while."""
    _drop_interface(tx, gateway, now)
    _change(tx, gateway, "deleted", now)
    gateway.deleted = now
    notify_topology.target(tx, gateway.id)


def give_up(tx: Transaction, gateway: NatGateway, now: datetime) -> None:
    """Fail a gateway that its host could not create in time."""
    if gateway.host_id is not None and gateway.interface_id is not None:
        desired_state.remove_nat_gateway(tx, gateway.host_id, gateway.id, gateway.interface_id)
    _drop_interface(tx, gateway, now)
    _fail(tx, gateway, "InternalError", "The NAT gateway could not be created", now)
    notify_topology.target(tx, gateway.id)


def leave_host(tx: Transaction, host_id: str, now: datetime) -> None:
    """Move the gateways of a removed host to other hosts; those that are being deleted are deleted with it."""
    for gateway in tx.session.scalars(select(NatGateway).where(NatGateway.host_id == host_id)).all():
        if gateway.state not in _WORKING or gateway.interface_id is None:
            if gateway.state == "deleting":
                settle_deleted(tx, gateway, now)
            gateway.host_id = None
            continue
        subnet = tx.session.get_one(Subnet, gateway.subnet_id)
        home = capacity.choose_any(tx, subnet.zone, but=host_id)
        if home is None:
            gateway.host_id = None
            _drop_interface(tx, gateway, now)
            _fail(tx, gateway, "InternalError", f"There is no host up in the Availability Zone {subnet.zone}", now)
            notify_topology.target(tx, gateway.id)
            continue
        _place(tx, gateway, home)


def move_some(tx: Transaction, host_id: str, home: str) -> None:
    """Move some of the gateways of a host that is drained to another host, with their addresses; to be repeated.

    Connections through them end, since the other host does not know them.
    """
    row = NatGateway
    query = select(row).where(row.host_id == host_id, row.state.in_(_WORKING), row.interface_id.is_not(None))
    for gateway in tx.session.scalars(query.order_by(row.id).limit(_AT_ONCE)).all():
        assert gateway.interface_id is not None
        desired_state.remove_nat_gateway(tx, host_id, gateway.id, gateway.interface_id)
        gateway.host_error = ""
        _place(tx, gateway, home)
        topics.refresh_host(tx, gateway.vpc_id, host_id)


def _place(tx: Transaction, gateway: NatGateway, home: str) -> None:
    gateway.host_id = tx.session.get_one(NetworkInterface, gateway.interface_id).host_id = home
    desired_state.refresh_nat_gateway(tx, gateway.id)


def _drop_interface(tx: Transaction, gateway: NatGateway, now: datetime) -> None:
    """Delete a gateway's interface; its Elastic IP address stays allocated."""
    interface = tx.session.get(NetworkInterface, gateway.interface_id) if gateway.interface_id else None
    if interface is None:
        return
    host_id, vpc_id = interface.host_id, interface.vpc_id
    network_interface_life.remove(tx, interface, now)
    if host_id is not None:
        topics.refresh_host(tx, vpc_id, host_id)


def _fail(tx: Transaction, gateway: NatGateway, code: str, message: str, now: datetime) -> None:
    _change(tx, gateway, "failed", now)
    gateway.failure_code, gateway.failure_message = code, message
    gateway.deleted = now


def _change(tx: Transaction, gateway: NatGateway, state: str, now: datetime) -> None:
    """Change a gateway's state; it is billed while it is available."""
    gateway.state, gateway.state_changed = state, now
    used = uses.of_nat_gateway() if state == "available" else ()
    ledger.change(tx, Resource(gateway.id, gateway.account_id, _zone(tx, gateway)), used, now)


def _zone(tx: Transaction, gateway: NatGateway) -> str:
    return tx.session.get_one(Subnet, gateway.subnet_id).zone
