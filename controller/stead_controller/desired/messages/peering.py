"""Builds two `Peering` of an active peering connection, one for each of its VPCs; the id of one is `pcx-…:vpc-…`."""

from collections.abc import Iterable

from sqlalchemy import select

from stead_controller.db.session import Transaction
from stead_controller.db.tables import VpcPeeringConnection
from stead_controller.desired import peered_vpcs
from stead_controller.desired.messages import noted_rows
from stead_proto.v1 import desired_pb2 as pb


def side_id(peering_id: str, vpc_id: str) -> str:
    """The id of a connection as seen from one of its VPCs."""
    return f"{peering_id}:{vpc_id}"


def draw(tx: Transaction, resource_id: str) -> pb.Peering | None:
    """A connection as seen from one of its VPCs; None unless it is active."""
    peering_id, _, vpc_id = resource_id.partition(":")
    connection = tx.session.scalar(select(VpcPeeringConnection).where(VpcPeeringConnection.id == peering_id))
    if connection is None or connection.status != peered_vpcs.ACTIVE:
        return None
    peer = peered_vpcs.other_end(connection, vpc_id)
    return pb.Peering(
        vpc_id=vpc_id,
        peer_vpc_id=peer,
        peering_id=peering_id,
        peer_cidr_blocks=peered_vpcs.blocks_of(tx, peer),
        rows=noted_rows.of(tx, (VpcPeeringConnection, VpcPeeringConnection.id == peering_id)),
    )


def ids(tx: Transaction, vpc_id: str) -> Iterable[str]:
    """All active connections of a VPC, as seen from it."""
    return [side_id(peering_id, vpc_id) for peering_id in peered_vpcs.active_of(tx, vpc_id)]
