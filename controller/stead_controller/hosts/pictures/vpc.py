"""A VPC's row becomes a `Vpc`."""

from collections.abc import Iterable

from stead_controller.db.session import Transaction
from stead_controller.db.tables import Vpc
from stead_controller.hosts.pictures.region import region_of
from stead_controller.names import private_domain
from stead_proto.v1 import desired_pb2 as pb


def draw(tx: Transaction, vpc_id: str) -> pb.Vpc | None:
    """A VPC as its hosts see it; None when it is gone."""
    vpc = tx.session.get(Vpc, vpc_id)
    if vpc is None:
        return None
    return pb.Vpc(
        vni=vpc.vni,
        cidr_blocks=[vpc.cidr_block],
        dns_support=vpc.dns_support,
        dns_hostnames=vpc.dns_hostnames,
        domain_name=private_domain(region_of(tx)),
    )


def ids(tx: Transaction, vpc_id: str) -> Iterable[str]:
    """The VPC itself."""
    del tx
    return [vpc_id]
