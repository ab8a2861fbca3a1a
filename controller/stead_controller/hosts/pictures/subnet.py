"""A subnet's row becomes a `Subnet`."""

from collections.abc import Iterable

from sqlalchemy import select

from stead_controller.db.session import Transaction
from stead_controller.db.tables import NetworkAclAssociation, Subnet
from stead_proto.v1 import desired_pb2 as pb


def draw(tx: Transaction, subnet_id: str) -> pb.Subnet | None:
    """A subnet as its hosts see it; None when it is gone."""
    subnet = tx.session.get(Subnet, subnet_id)
    if subnet is None:
        return None
    acl = select(NetworkAclAssociation.acl_id).where(NetworkAclAssociation.subnet_id == subnet_id)
    return pb.Subnet(
        vpc_id=subnet.vpc_id,
        cidr_block=subnet.cidr_block,
        internet=subnet.internet,
        network_acl_id=tx.session.scalar(acl) or "",
    )


def ids(tx: Transaction, vpc_id: str) -> Iterable[str]:
    """All subnets of a VPC."""
    return tx.session.scalars(select(Subnet.id).where(Subnet.vpc_id == vpc_id)).all()
