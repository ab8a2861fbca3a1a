"""Adopts NAT gateways and interfaces of interface endpoints, with their network interfaces and Elastic IP addresses.

They come with their VPC, from whichever host has them: routes and names of the VPC lead to them.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from stead_controller.db.insert import insert_new, new_row
from stead_controller.db.tables import (
    Host,
    NatGateway,
    NetworkInterface,
    PublicAddress,
    Subnet,
    Tag,
    VpcEndpoint,
    VpcEndpointInterface,
)
from stead_controller.desired import desired_state, topics
from stead_controller.desired.messages import noted_rows
from stead_controller.errors import WrongState
from stead_controller.request.transaction import Transaction
from stead_controller.resources.operators import adopted_network, adopted_vpcs, unclaimed_resources
from stead_controller.resources.operators.unclaimed_resources import Unclaimed
from stead_proto.v1 import desired_pb2 as pb

KINDS: Final = frozenset({pb.KIND_NAT_GATEWAY, pb.KIND_ENDPOINT_INTERFACE})


def take(tx: Transaction, vpc_ids: Iterable[str], now: datetime) -> list[Unclaimed]:
    """Make the rows of all gateways in VPCs that hosts have and this database does not know; return what was taken.

    Raises WrongState where something is in the way. Their use is billed from when their hosts report them.
    """
    chosen = set(vpc_ids)
    everything = unclaimed_resources.list_all(tx)
    taken: list[Unclaimed] = []
    for one in everything:
        if one.kind in KINDS and one.resource is not None and adopted_vpcs.vpc_of(one) in chosen:
            taken += _take(tx, one, everything, now)
    for vpc_id in sorted(chosen) if taken else ():
        topics.draw_vpc(tx, vpc_id)
    return taken


def _take(tx: Transaction, one: Unclaimed, everything: Sequence[Unclaimed], now: datetime) -> list[Unclaimed]:
    assert one.resource is not None
    is_nat = one.kind == pb.KIND_NAT_GATEWAY
    interface_id = one.resource.nat_gateway.interface_id if is_nat else one.id
    found = [each for each in everything if each.host_id == one.host_id and each.id == interface_id]
    interface = next((each for each in found if each.kind == pb.KIND_INTERFACE and each.resource is not None), None)
    host = tx.session.get(Host, one.host_id)
    if interface is None or host is None or host.state != "up":
        raise WrongState(
            "natgateway", f"{one.host_id} is not up, or has not said that it has the interface of {one.id}."
        )
    subnet = adopted_network.subnet_of(tx, interface, _account_of(tx, one))
    unclaimed_resources.forget(tx, [one.key, interface.key])
    row = _row_of(one, NetworkInterface, interface_id, subnet) | {"host_id": host.id}
    tags = [noted_rows.values(Tag, each) for each in noted_rows.read(_noted(one)).get(Tag.__tablename__, ())]
    its_own = [each for each in tags if each["resource_id"] in {one.id, interface_id}]
    tx.session.add_all(new_row(Tag, **each) for each in its_own if each["account_id"] == subnet.account_id)
    if is_nat:
        _take_nat_gateway(tx, one, interface, row, now)
    else:
        is_named = _is_named(everything, one.resource.endpoint_interface.endpoint_id, interface)
        _take_endpoint_interface(tx, one, interface, row, now, state="available" if is_named else "pending")
    return [one, interface]


def _take_nat_gateway(
    tx: Transaction, one: Unclaimed, interface: Unclaimed, row: dict[str, Any], now: datetime
) -> None:
    subnet = tx.session.get_one(Subnet, row["subnet_id"])
    values = {"state": "pending", "state_changed": now, "host_id": one.host_id, "host_error": ""}
    gateway = new_row(NatGateway, **_row_of(one, NatGateway, one.id, subnet) | values)
    insert_new(tx.session, gateway)
    adopted_network.adopt_of_service(tx, interface, subnet, row, now)
    held = tx.session.get(PublicAddress, gateway.public_address) if gateway.public_address else None
    if held is not None:
        held.association_id = gateway.association_id
    desired_state.refresh_nat_gateway(tx, gateway.id)


def _take_endpoint_interface(
    tx: Transaction, one: Unclaimed, interface: Unclaimed, row: dict[str, Any], now: datetime, *, state: str
) -> None:
    """Make the rows of an endpoint's interface; while it is pending, so is the endpoint, until its host reports it."""
    subnet = tx.session.get_one(Subnet, row["subnet_id"])
    values = _row_of(one, VpcEndpointInterface, one.id, subnet)
    endpoint = tx.session.get(VpcEndpoint, values.get("endpoint_id", ""))
    if endpoint is None or endpoint.vpc_id != subnet.vpc_id:
        raise WrongState("vpc-endpoint", f"The endpoint of {one.id} is not known, or it is not in {subnet.vpc_id}.")
    adopted_network.adopt_of_service(tx, interface, subnet, row, now)
    values |= {"state": state, "host_id": one.host_id, "host_error": ""}
    tx.session.add(VpcEndpointInterface(**values))
    if state == "pending":
        endpoint.state = "pending"
    desired_state.refresh_endpoint_interface(tx, one.id)


def _is_named(everything: Sequence[Unclaimed], endpoint_id: str, interface: Unclaimed) -> bool:
    """Tell whether an endpoint has a name for an interface: hosts are told those of interfaces that are ready."""
    assert interface.resource is not None
    said = [each.resource.vpc_endpoint for each in everything if each.id == endpoint_id and each.resource is not None]
    addresses = {address for body in said for name in body.interface_names for address in name.addresses}
    return interface.resource.interface.private_address in addresses


def _account_of(tx: Transaction, one: Unclaimed) -> str:
    """Return the account of the gateway's subnet, which is its own; raises WrongState where its host keeps no rows."""
    rows = noted_rows.read(_noted(one)).get(NetworkInterface.__tablename__, ())
    subnet = tx.session.get(Subnet, next((str(row.get("subnet_id")) for row in rows), ""))
    if subnet is None:
        raise _not_enough(one)
    return subnet.account_id


def _row_of(one: Unclaimed, model: Any, resource_id: str, subnet: Subnet) -> dict[str, Any]:
    """Return the row of a gateway or its interface that a host keeps; raises WrongState for one of others."""
    rows = noted_rows.read(_noted(one)).get(model.__tablename__, ())
    values = noted_rows.values(model, rows[0]) if len(rows) == 1 else {}
    its_own = resource_id in {values.get("id"), values.get("interface_id")}
    there = {"account_id": subnet.account_id, "vpc_id": subnet.vpc_id, "subnet_id": subnet.id}
    if not its_own or any(values.get(name, mine) != mine for name, mine in there.items()):
        raise _not_enough(one)
    return values


def _not_enough(one: Unclaimed) -> WrongState:
    return WrongState(
        "natgateway",
        f"{one.host_id} does not know enough of {one.id}, as the controller of an earlier release told it less, or it "
        "belongs to others. Restore a newer backup, or remove it.",
    )


def _noted(one: Unclaimed) -> bytes:
    assert one.resource is not None
    return one.resource.nat_gateway.rows or one.resource.endpoint_interface.rows
