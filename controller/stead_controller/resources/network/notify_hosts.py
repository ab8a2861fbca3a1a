"""Update the desired state of hosts after a change to traffic filters: one call at the end of each mutation.

Callers have changed the rows; this module finds which parts of which VPCs are affected.
"""

from sqlalchemy import ColumnElement, select

from stead_controller.db.tables import (
    PrefixList,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    VpcPeeringConnection,
)
from stead_controller.desired import peered_vpcs, topics
from stead_controller.desired.messages.peering import side_id
from stead_controller.request.transaction import Transaction
from stead_controller.resources.network import notify_topology
from stead_proto.v1 import desired_pb2 as pb


def security_group(tx: Transaction, group_id: str, vpc_id: str) -> None:
    """Send a group's current rules, or its deletion, to the hosts of its VPC."""
    topics.refresh_part(tx, pb.KIND_SECURITY_GROUP, group_id, vpc_id)


def network_acl(tx: Transaction, acl_id: str, vpc_id: str) -> None:
    """Send an ACL's current rules, or its deletion, to the hosts of its VPC."""
    topics.refresh_part(tx, pb.KIND_NETWORK_ACL, acl_id, vpc_id)


def subnet(tx: Transaction, changed: Subnet) -> None:
    """Send a subnet's current ACL to the hosts of its VPC."""
    topics.refresh_part(tx, pb.KIND_SUBNET, changed.id, changed.vpc_id)


def peering(tx: Transaction, connection: VpcPeeringConnection) -> None:
    """Send a connection's current state, or its end, and what depends on it, to the hosts of both VPCs."""
    for vpc_id in (connection.requester_vpc_id, connection.accepter_vpc_id):
        topics.refresh_part(tx, pb.KIND_PEERING, side_id(connection.id, vpc_id), vpc_id)
    _groups_with(tx, SecurityGroupRule.peering_id == connection.id)
    notify_topology.target(tx, connection.id)


def peerings_of(tx: Transaction, vpc_id: str) -> None:
    """Send a VPC's current blocks to the hosts of the VPCs at the other ends of its active connections."""
    for peering_id, peer in peered_vpcs.active_of(tx, vpc_id).items():
        topics.refresh_part(tx, pb.KIND_PEERING, side_id(peering_id, peer), peer)


def prefix_list(tx: Transaction, changed: PrefixList) -> None:
    """Send a prefix list's current entries to the hosts of every VPC whose groups or routes refer to it."""
    _groups_with(tx, SecurityGroupRule.prefix_list_id == changed.id)
    notify_topology.prefix_list(tx, changed.id)


def flow_log(tx: Transaction, flow_log_id: str, vpc_id: str) -> None:
    """Send a flow log, or its deletion, to the hosts of its VPC."""
    topics.refresh_part(tx, pb.KIND_FLOW_LOG, flow_log_id, vpc_id)


def _groups_with(tx: Transaction, which: ColumnElement[bool]) -> None:
    """Send the rules of every group that has such a rule."""
    tx.session.flush()
    query = (
        select(SecurityGroup.id, SecurityGroup.vpc_id)
        .join(SecurityGroupRule, SecurityGroupRule.group_id == SecurityGroup.id)
        .where(which)
        .distinct()
    )
    for group_id, vpc_id in tx.session.execute(query).all():
        topics.refresh_part(tx, pb.KIND_SECURITY_GROUP, group_id, vpc_id)
