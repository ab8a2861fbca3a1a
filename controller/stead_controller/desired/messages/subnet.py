"""Builds a `Subnet` from its row, with the route table that applies to it."""

from collections.abc import Iterable

from sqlalchemy import select

from stead_controller.db.session import Transaction
from stead_controller.db.tables import NetworkAclAssociation, RouteTableAssociation, Subnet, SubnetCidrReservation
from stead_controller.desired.messages import noted_rows
from stead_proto.v1 import desired_pb2 as pb


def draw(tx: Transaction, subnet_id: str) -> pb.Subnet | None:
    """A subnet as its hosts see it; None when it is gone."""
    subnet = tx.session.get(Subnet, subnet_id)
    if subnet is None:
        return None
    acl = select(NetworkAclAssociation.acl_id).where(NetworkAclAssociation.subnet_id == subnet_id)
    tables = dict(
        tx.session.execute(
            select(RouteTableAssociation.subnet_id, RouteTableAssociation.route_table_id).where(
                RouteTableAssociation.vpc_id == subnet.vpc_id,
                (RouteTableAssociation.subnet_id == subnet.id) | RouteTableAssociation.subnet_id.is_(None),
            )
        ).all()
    )
    return pb.Subnet(
        vpc_id=subnet.vpc_id,
        cidr_block=subnet.cidr_block or "",
        ipv6_cidr_block=subnet.ipv6_cidr_block or "",
        route_table_id=tables.get(subnet.id) or tables[None],
        network_acl_id=tx.session.scalar(acl) or "",
        rows=noted_rows.of(
            tx,
            (Subnet, Subnet.id == subnet_id),
            (SubnetCidrReservation, SubnetCidrReservation.subnet_id == subnet_id),
            (RouteTableAssociation, RouteTableAssociation.subnet_id == subnet_id),
            (NetworkAclAssociation, NetworkAclAssociation.subnet_id == subnet_id),
        ),
    )


def ids(tx: Transaction, vpc_id: str) -> Iterable[str]:
    """All subnets of a VPC."""
    return tx.session.scalars(select(Subnet.id).where(Subnet.vpc_id == vpc_id)).all()
