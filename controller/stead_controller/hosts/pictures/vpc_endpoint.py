"""A gateway endpoint's row becomes a `VpcEndpoint`: where its service is, and by which ports."""

import json
from collections.abc import Iterable
from typing import Final

from sqlalchemy import select

from stead_controller.db.session import Transaction
from stead_controller.db.tables import CloudFact, PrefixList, PrefixListEntry, VpcEndpoint
from stead_proto.v1 import desired_pb2 as pb

FACT: Final = "endpoint_ports"
"""The name of what the database knows of ports: those of the APIs, and the controllers' own for endpoints."""


def draw(tx: Transaction, endpoint_id: str) -> pb.VpcEndpoint | None:
    """A gateway endpoint as hosts see it; None when it is gone."""
    endpoint = tx.session.get(VpcEndpoint, endpoint_id)
    if endpoint is None:
        return None
    known = json.loads(tx.session.scalars(select(CloudFact.value).where(CloudFact.name == FACT)).one())
    _, _, region, code = endpoint.service.split(".")
    blocks = (
        select(PrefixListEntry.cidr)
        .join(PrefixList, PrefixList.id == PrefixListEntry.prefix_list_id)
        .where(PrefixList.name == endpoint.service, PrefixListEntry.last_version.is_(None))
        .order_by(PrefixListEntry.cidr)
    )
    return pb.VpcEndpoint(
        vpc_id=endpoint.vpc_id,
        service=code,
        addresses=[cidr.partition("/")[0] for cidr in tx.session.scalars(blocks)],
        ports=known["ports"],
        controller_port=known["controller_port"],
        names=[f"{code}.{region}.amazonaws.com"],
    )


def ids(tx: Transaction, vpc_id: str) -> Iterable[str]:
    """All endpoints of a VPC."""
    return tx.session.scalars(select(VpcEndpoint.id).where(VpcEndpoint.vpc_id == vpc_id)).all()
