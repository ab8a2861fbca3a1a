"""A subnet's row becomes a `Subnet`."""

from collections.abc import Iterable

from sqlalchemy import select

from stead_controller.db.session import Transaction
from stead_controller.db.tables import Subnet
from stead_proto.v1 import desired_pb2 as pb


def draw(tx: Transaction, subnet_id: str) -> pb.Subnet | None:
    """A subnet as its hosts see it; None when it is gone."""
    subnet = tx.session.get(Subnet, subnet_id)
    if subnet is None:
        return None
    return pb.Subnet(vpc_id=subnet.vpc_id, cidr_block=subnet.cidr_block, internet=subnet.internet)


def ids(tx: Transaction, vpc_id: str) -> Iterable[str]:
    """All subnets of a VPC."""
    return tx.session.scalars(select(Subnet.id).where(Subnet.vpc_id == vpc_id)).all()
