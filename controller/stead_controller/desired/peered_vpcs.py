"""The VPCs joined by active peering connections, and their CIDR blocks."""

from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, or_, select

from stead_controller.db.tables import Vpc, VpcCidrBlock, VpcPeeringConnection
from stead_controller.request.caller import Caller
from stead_controller.request.conditions import Condition, text
from stead_controller.request.transaction import Transaction

ACTIVE: Final = "active"
VPC_IDS: Final[Select[Any]] = select(VpcCidrBlock.vpc_id)
HAS_BLOCK: Final[Condition] = text(VpcCidrBlock.cidr_block)


def blocks_of(tx: Transaction, vpc_id: str) -> list[str]:
    """Return the blocks of a VPC, the primary one first, IPv6 last; none when it is gone."""
    query = (
        select(VpcCidrBlock.cidr_block)
        .join(Vpc, Vpc.id == VpcCidrBlock.vpc_id)
        .where(VpcCidrBlock.vpc_id == vpc_id)
        .order_by(VpcCidrBlock.ipv6, VpcCidrBlock.cidr_block != Vpc.cidr_block, VpcCidrBlock.created)
    )
    return list(tx.session.scalars(query))


def joins(vpc_id: str, other_vpc_id: str) -> ColumnElement[bool]:
    """Require that a connection joins these two VPCs, in either direction."""
    row = VpcPeeringConnection
    return or_(
        and_(row.requester_vpc_id == vpc_id, row.accepter_vpc_id == other_vpc_id),
        and_(row.requester_vpc_id == other_vpc_id, row.accepter_vpc_id == vpc_id),
    )


def sides(caller: Caller) -> tuple[ColumnElement[bool], ...]:
    """The conditions by which the caller may see a connection, for `lookup.seen`: its account is on either side."""
    mine = VpcPeeringConnection.account_id == caller.account_id
    return mine, VpcPeeringConnection.accepter_account_id == caller.account_id


def of_vpc(vpc_id: str) -> ColumnElement[bool]:
    """Require that a connection has this VPC at one of its ends."""
    return or_(VpcPeeringConnection.requester_vpc_id == vpc_id, VpcPeeringConnection.accepter_vpc_id == vpc_id)


def active_between(tx: Transaction, vpc_id: str, other_vpc_id: str) -> VpcPeeringConnection | None:
    """Return the active connection between two VPCs, if there is one."""
    query = select(VpcPeeringConnection).where(VpcPeeringConnection.status == ACTIVE, joins(vpc_id, other_vpc_id))
    return tx.session.scalar(query)


def active_of(tx: Transaction, vpc_id: str) -> dict[str, str]:
    """Return the active connections of a VPC: the id of the VPC at the other end by the connection's id."""
    query = select(VpcPeeringConnection).where(VpcPeeringConnection.status == ACTIVE, of_vpc(vpc_id))
    return {one.id: other_end(one, vpc_id) for one in tx.session.scalars(query)}


def other_end(connection: VpcPeeringConnection, vpc_id: str) -> str:
    """Return the VPC that a connection joins with this one."""
    return connection.accepter_vpc_id if connection.requester_vpc_id == vpc_id else connection.requester_vpc_id
