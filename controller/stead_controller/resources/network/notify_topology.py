"""What hosts are told after a change of a VPC's topology: one call at the end of each mutation."""

from sqlalchemy import ColumnElement, select

from stead_controller.db.tables import Route, RouteTableAssociation, Subnet
from stead_controller.desired import topics
from stead_controller.request.transaction import Transaction
from stead_proto.v1 import desired_pb2 as pb


def new_vpc(tx: Transaction, vpc_id: str) -> None:
    """Begin the topic of a VPC that was just made, with all that it consists of."""
    topics.draw_vpc(tx, vpc_id)


def removed_vpc(tx: Transaction, vpc_id: str) -> None:
    """End what was told of a VPC that is gone."""
    topics.draw_vpc(tx, vpc_id)


def vpc(tx: Transaction, vpc_id: str) -> None:
    """Tell the blocks, DNS settings and DHCP options of a VPC as they are now."""
    topics.refresh_part(tx, pb.KIND_VPC, vpc_id, vpc_id)


def subnet(tx: Transaction, subnet_id: str, vpc_id: str) -> None:
    """Tell how a subnet is now, and which route table applies to it, or that it is gone."""
    topics.refresh_part(tx, pb.KIND_SUBNET, subnet_id, vpc_id)


def main_table(tx: Transaction, vpc_id: str) -> None:
    """Tell which route table applies now to the subnets that have none of their own."""
    tx.session.flush()
    explicit = select(RouteTableAssociation.subnet_id).where(RouteTableAssociation.subnet_id == Subnet.id)
    implicit = select(Subnet.id).where(Subnet.vpc_id == vpc_id, ~explicit.exists())
    for subnet_id in tx.session.scalars(implicit).all():
        subnet(tx, subnet_id, vpc_id)


def route_table(tx: Transaction, table_id: str, vpc_id: str) -> None:
    """Tell the routes of a table as they are now, or that it is gone."""
    topics.refresh_part(tx, pb.KIND_ROUTE_TABLE, table_id, vpc_id)


def target(tx: Transaction, target_id: str) -> None:
    """Tell the routes to a gateway, interface or peering connection that was attached, detached, changed or removed."""
    _tables(tx, Route.target_id == target_id)


def prefix_list(tx: Transaction, list_id: str) -> None:
    """Tell the routes to the entries of a prefix list that was changed."""
    _tables(tx, Route.destination == list_id)


def _tables(tx: Transaction, where: ColumnElement[bool]) -> None:
    tx.session.flush()
    found = tx.session.execute(select(Route.route_table_id, Route.vpc_id).where(where).distinct()).all()
    for table_id, vpc_id in found:
        route_table(tx, table_id, vpc_id)
