"""Update the desired state of hosts after a change of a VPC's topology: one call at the end of each mutation."""

from sqlalchemy import ColumnElement, select

from stead_controller.db.tables import Route, RouteTableAssociation, Subnet
from stead_controller.desired import topics
from stead_controller.request.transaction import Transaction
from stead_proto.v1 import desired_pb2 as pb


def new_vpc(tx: Transaction, vpc_id: str) -> None:
    """Begin the topic of a new VPC, with all its parts."""
    topics.draw_vpc(tx, vpc_id)


def removed_vpc(tx: Transaction, vpc_id: str) -> None:
    """End the topic of a deleted VPC."""
    topics.draw_vpc(tx, vpc_id)


def vpc(tx: Transaction, vpc_id: str) -> None:
    """Send the current blocks, DNS settings and DHCP options of a VPC, and which gateways it has."""
    topics.refresh_part(tx, pb.KIND_VPC, vpc_id, vpc_id)


def subnet(tx: Transaction, subnet_id: str, vpc_id: str) -> None:
    """Send a subnet's current state and route table, or its deletion."""
    topics.refresh_part(tx, pb.KIND_SUBNET, subnet_id, vpc_id)


def main_table(tx: Transaction, vpc_id: str) -> None:
    """Send the current main route table, which applies to the subnets without one of their own."""
    tx.session.flush()
    explicit = select(RouteTableAssociation.subnet_id).where(RouteTableAssociation.subnet_id == Subnet.id)
    implicit = select(Subnet.id).where(Subnet.vpc_id == vpc_id, ~explicit.exists())
    for subnet_id in tx.session.scalars(implicit).all():
        subnet(tx, subnet_id, vpc_id)


def route_table(tx: Transaction, table_id: str, vpc_id: str) -> None:
    """Send the current routes of a table, or its deletion."""
    topics.refresh_part(tx, pb.KIND_ROUTE_TABLE, table_id, vpc_id)


def target(tx: Transaction, target_id: str) -> None:
    """Send the routes to a gateway, interface or peering connection that was attached, detached, changed or removed."""
    _tables(tx, Route.target_id == target_id)


def prefix_list(tx: Transaction, list_id: str) -> None:
    """Send the routes to the entries of a changed prefix list."""
    _tables(tx, Route.destination == list_id)


def _tables(tx: Transaction, where: ColumnElement[bool]) -> None:
    tx.session.flush()
    found = tx.session.execute(select(Route.route_table_id, Route.vpc_id).where(where).distinct()).all()
    for table_id, vpc_id in found:
        route_table(tx, table_id, vpc_id)
