"""Builds a `SecurityGroup` from its rows: its rules; its members are in the mappings."""

from collections.abc import Iterable

from sqlalchemy import select

from stead_controller.db.session import Transaction
from stead_controller.db.tables import SecurityGroup, SecurityGroupRule, VpcPeeringConnection
from stead_controller.desired import prefix_list_blocks
from stead_controller.desired.messages import noted_rows
from stead_controller.desired.peered_vpcs import ACTIVE
from stead_proto.v1 import desired_pb2 as pb


def draw(tx: Transaction, group_id: str) -> pb.SecurityGroup | None:
    """A security group with its rules; None when it is gone."""
    group = tx.session.scalar(select(SecurityGroup).where(SecurityGroup.id == group_id))
    if group is None:
        return None
    rules = select(SecurityGroupRule).where(SecurityGroupRule.group_id == group_id).order_by(SecurityGroupRule.id)
    found = tx.session.scalars(rules).all()
    stale = _ended_peerings(tx, found)
    return pb.SecurityGroup(
        vpc_id=group.vpc_id,
        rules=[_rule(tx, rule) for rule in found if rule.peering_id not in stale],
        name=group.name,
        rows=_rows(tx, group),
    )


def _rows(tx: Transaction, group: SecurityGroup) -> bytes:
    mine = SecurityGroupRule.group_id == group.id
    lists = select(SecurityGroupRule.prefix_list_id).where(mine, SecurityGroupRule.prefix_list_id.is_not(None))
    return noted_rows.of(
        tx,
        (SecurityGroup, SecurityGroup.id == group.id),
        (SecurityGroupRule, mine),
        *noted_rows.prefix_lists(group.account_id, lists),
    )


def ids(tx: Transaction, vpc_id: str) -> Iterable[str]:
    """All groups of a VPC."""
    return tx.session.scalars(select(SecurityGroup.id).where(SecurityGroup.vpc_id == vpc_id)).all()


def _ended_peerings(tx: Transaction, rules: Iterable[SecurityGroupRule]) -> set[str]:
    """The inactive peering connections that rules refer to: such a rule allows nothing."""
    through = {rule.peering_id for rule in rules if rule.peering_id is not None}
    active = select(VpcPeeringConnection.id).where(
        VpcPeeringConnection.id.in_(sorted(through)), VpcPeeringConnection.status == ACTIVE
    )
    return through - set(tx.session.scalars(active)) if through else set()


def _rule(tx: Transaction, rule: SecurityGroupRule) -> pb.SecurityGroupRule:
    message = pb.SecurityGroupRule(
        id=rule.id, egress=rule.egress, protocol=rule.protocol, from_port=rule.from_port, to_port=rule.to_port
    )
    if rule.cidr_ipv4 is not None:
        message.cidr_ipv4 = rule.cidr_ipv4
    elif rule.cidr_ipv6 is not None:
        message.cidr_ipv6 = rule.cidr_ipv6
    elif rule.peer_group_id is not None:
        message.group_id = rule.peer_group_id
    elif rule.prefix_list_id is not None:
        blocks = prefix_list_blocks.blocks(tx, rule.prefix_list_id)
        message.prefix_list.CopyFrom(pb.PrefixListPeer(id=rule.prefix_list_id, cidr_blocks=blocks))
    return message
