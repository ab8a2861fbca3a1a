"""The interfaces of interface endpoints: one in each of an endpoint's subnets, at home on a host of the subnet's zone.

They have the life cycle of NAT gateways: their host reports when they are ready, and when they are removed. See
https://docs.aws.amazon.com/vpc/latest/privatelink/privatelink-access-aws-services.html.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import delete, select

from stead_controller.catalog import ids
from stead_controller.db.tables import NetworkInterface, Subnet, VpcEndpoint, VpcEndpointGroup, VpcEndpointInterface
from stead_controller.desired import desired_state, topics
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags
from stead_controller.resources.host_capacity import capacity
from stead_controller.resources.network import interface_groups, network_interface_life
from stead_controller.resources.network.network_interface_life import AddressRequest
from stead_proto.v1 import desired_pb2 as pb

INTERFACE_TYPE: Final = "vpc_endpoint"
_BATCH: Final = 500
_AT_ONCE: Final = 20


def of(tx: Transaction, endpoint_id: str) -> list[VpcEndpointInterface]:
    """List an endpoint's interfaces by zone, without those that are being deleted."""
    row = VpcEndpointInterface
    query = select(row).where(row.endpoint_id == endpoint_id, row.state != "deleting")
    return list(tx.session.scalars(query.order_by(row.zone, row.interface_id)))


def groups_of(tx: Transaction, endpoint_id: str) -> list[str]:
    """List the ids of the security groups that an endpoint's interfaces are in, sorted."""
    query = select(VpcEndpointGroup.group_id).where(VpcEndpointGroup.endpoint_id == endpoint_id)
    return sorted(tx.session.scalars(query))


def add(tx: Transaction, endpoint: VpcEndpoint, subnet: Subnet, address: str | None, now: datetime) -> None:
    """Add an interface in a subnet to an endpoint, whose groups are set, with the requested address or any.

    Raises InvalidParameter, WrongState (an address in use), LimitExceeded (no address is free).
    """
    home = capacity.choose_any(tx, subnet.zone)
    interface = network_interface_life.add(
        tx,
        subnet,
        AddressRequest(primary=address, ipv6_count=0),
        groups_of(tx, endpoint.id),
        now,
        description=f"VPC Endpoint Interface {endpoint.id}",
        status="in-use",
        interface_type=INTERFACE_TYPE,
        requester_managed=True,
        host_id=home,
        attachment_id=ids.new_id("network-interface-attachment"),
        device_index=1,
        attachment_state="attached",
        attach_time=now,
    )
    tx.session.add(
        VpcEndpointInterface(
            interface_id=interface.id,
            endpoint_id=endpoint.id,
            subnet_id=subnet.id,
            zone=subnet.zone,
            host_id=home,
            state="pending",
        )
    )
    endpoint.state = "pending"
    tx.session.flush()
    if home is not None:
        desired_state.refresh_endpoint_interface(tx, interface.id)


def set_groups(tx: Transaction, endpoint: VpcEndpoint, group_ids: Sequence[str]) -> None:
    """Put an endpoint's present and future interfaces into exactly these groups."""
    mine = VpcEndpointGroup.endpoint_id == endpoint.id
    tx.session.execute(delete(VpcEndpointGroup).where(mine).execution_options(synchronize_session=False))
    tx.session.add_all(VpcEndpointGroup(endpoint_id=endpoint.id, group_id=group_id) for group_id in group_ids)
    tx.session.flush()
    for row in of(tx, endpoint.id):
        interface_groups.replace(tx, tx.session.get_one(NetworkInterface, row.interface_id), group_ids)
        if row.host_id is not None:
            desired_state.refresh_endpoint_interface(tx, row.interface_id)


def remove(tx: Transaction, row: VpcEndpointInterface, now: datetime) -> None:
    """Begin to delete an interface, which ends when its host reports it."""
    row.state = "deleting"
    if row.host_id is None:
        settle_gone(tx, row, now)
    else:
        desired_state.remove_endpoint_interface(tx, row.host_id, row.interface_id)


def settle_ready(tx: Transaction, row: VpcEndpointInterface) -> None:
    """Record that an interface is ready; the endpoint is available when the last one is."""
    row.host_error = ""
    if row.state != "pending":
        return
    row.state = "available"
    tx.session.flush()
    endpoint = tx.session.get_one(VpcEndpoint, row.endpoint_id)
    settle_state(tx, endpoint)
    refresh(tx, endpoint)


def settle_state(tx: Transaction, endpoint: VpcEndpoint) -> None:
    """Set an endpoint to available when none of its interfaces is pending any more."""
    if endpoint.state == "pending" and all(row.state != "pending" for row in of(tx, endpoint.id)):
        endpoint.state = "available"


def settle_gone(tx: Transaction, row: VpcEndpointInterface, now: datetime) -> None:
    """Record that an interface is removed; an endpoint that is being deleted ends with its last one."""
    endpoint_id, interface_id = row.endpoint_id, row.interface_id
    tx.session.delete(row)
    tx.session.flush()
    interface = tx.session.get_one(NetworkInterface, interface_id)
    host_id, vpc_id = interface.host_id, interface.vpc_id
    network_interface_life.remove(tx, interface, now)
    if host_id is not None:
        topics.refresh_host(tx, vpc_id, host_id)
    end(tx, tx.session.get_one(VpcEndpoint, endpoint_id))


def end(tx: Transaction, endpoint: VpcEndpoint) -> None:
    """Remove an endpoint that is being deleted, when it has no interface any more."""
    left = select(VpcEndpointInterface.interface_id).where(VpcEndpointInterface.endpoint_id == endpoint.id)
    if endpoint.state != "deleting" or tx.session.scalar(left.limit(1)) is not None:
        return
    tx.session.delete(endpoint)
    tags.remove_all(tx, [endpoint.id])
    refresh(tx, endpoint)


def refresh(tx: Transaction, endpoint: VpcEndpoint) -> None:
    """Send an endpoint's current state, or its deletion, to the hosts of its VPC."""
    topics.refresh_part(tx, pb.KIND_VPC_ENDPOINT, endpoint.id, endpoint.vpc_id)


def leave_host(tx: Transaction, host_id: str, now: datetime) -> None:
    """Move the interfaces of a removed host to other hosts; those that are being deleted are gone with it."""
    rows = tx.session.scalars(select(VpcEndpointInterface).where(VpcEndpointInterface.host_id == host_id)).all()
    for row in rows:
        if row.state == "deleting":
            settle_gone(tx, row, now)
        else:
            _move(tx, row, capacity.choose_any(tx, row.zone, but=host_id))


def move_some(tx: Transaction, host_id: str, home: str) -> None:
    """Move some of the interfaces of a host that is drained to another host, with their addresses; to be repeated.

    Connections through them end, and the endpoint's names do not lead to them until the other host has them.
    """
    row = VpcEndpointInterface
    query = select(row).where(row.host_id == host_id, row.state != "deleting").order_by(row.interface_id)
    for each in tx.session.scalars(query.limit(_AT_ONCE)).all():
        desired_state.remove_endpoint_interface(tx, host_id, each.interface_id)
        each.host_error = ""
        _move(tx, each, home)
        topics.refresh_host(tx, tx.session.get_one(NetworkInterface, each.interface_id).vpc_id, host_id)


def _move(tx: Transaction, row: VpcEndpointInterface, home: str | None) -> None:
    row.state = "pending"
    _place(tx, row, home)
    refresh(tx, tx.session.get_one(VpcEndpoint, row.endpoint_id))


def place_waiting(tx: Transaction) -> None:
    """Place the interfaces for which no host was up, where one is now."""
    waiting = select(VpcEndpointInterface).where(
        VpcEndpointInterface.state == "pending", VpcEndpointInterface.host_id.is_(None)
    )
    for row in tx.session.scalars(waiting.limit(_BATCH)).all():
        home = capacity.choose_any(tx, row.zone)
        if home is not None:
            _place(tx, row, home)


def _place(tx: Transaction, row: VpcEndpointInterface, home: str | None) -> None:
    row.host_id = tx.session.get_one(NetworkInterface, row.interface_id).host_id = home
    tx.session.flush()
    if home is None:
        topics.refresh_part(
            tx, pb.KIND_MAPPING, row.interface_id, tx.session.get_one(VpcEndpoint, row.endpoint_id).vpc_id
        )
    else:
        desired_state.refresh_endpoint_interface(tx, row.interface_id)
