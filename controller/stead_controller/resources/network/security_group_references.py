"""References to security groups of a VPC: which VPCs refer to them, which rules are stale, which groups may be used.

See https://docs.aws.amazon.com/vpc/latest/peering/vpc-peering-security-groups.html.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, and_, exists, or_, select
from sqlalchemy.orm import aliased

from stead_controller.db.tables import SecurityGroup, SecurityGroupRule, Vpc, VpcPeeringConnection
from stead_controller.desired.peered_vpcs import ACTIVE
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.conditions import Condition, Selection, text
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags
from stead_controller.resources.network import security_groups
from stead_controller.resources.tags import Tagged

FOR_VPC_FILTERS: Final[dict[str, Condition]] = {
    "description": text(SecurityGroup.description),
    "group-id": text(SecurityGroup.id),
    "group-name": text(SecurityGroup.name),
    "owner-id": text(SecurityGroup.account_id),
    "primary-vpc-id": text(SecurityGroup.vpc_id),
}

_Peer: Final = aliased(SecurityGroup)

type DescribedGroupForVpc = Tagged[SecurityGroup]


class SecurityGroupReference(NamedTuple):
    """A VPC that refers to a group over a peering connection."""

    group_id: str
    referencing_vpc_id: str
    peering_id: str


@dataclass(frozen=True, slots=True)
class StaleSecurityGroup:
    """A group with its stale rules; statuses of peering connections are as in `DescribedSecurityGroup`."""

    group: SecurityGroup
    rules: Sequence[SecurityGroupRule]
    peering_statuses: Mapping[str, str]


def references(tx: Transaction, caller: Caller, group_ids: Sequence[str]) -> list[SecurityGroupReference]:
    """List the VPCs that refer to the caller's groups over active peering connections; raises MalformedId, NotFound."""
    mine = SecurityGroup.account_id == caller.account_id
    lookup.require(tx, "security-group", SecurityGroup.id, group_ids, mine)
    found: set[SecurityGroupReference] = set()
    for batch in lookup.batches(dict.fromkeys(group_ids)):
        query = (
            select(SecurityGroupRule.peer_group_id, SecurityGroup.vpc_id, SecurityGroupRule.peering_id)
            .join(SecurityGroup, SecurityGroup.id == SecurityGroupRule.group_id)
            .join(VpcPeeringConnection, VpcPeeringConnection.id == SecurityGroupRule.peering_id)
            .where(SecurityGroupRule.peer_group_id.in_(batch), VpcPeeringConnection.status == ACTIVE)
        )
        found.update(SecurityGroupReference(row[0] or "", row[1], row[2] or "") for row in tx.session.execute(query))
    return sorted(found)


def _is_stale() -> ColumnElement[bool]:
    """Require that a rule refers to a deleted group, or over a connection that is not active."""
    rule = SecurityGroupRule
    group_there = exists().where(_Peer.id == rule.peer_group_id)
    active = exists().where(VpcPeeringConnection.id == rule.peering_id, VpcPeeringConnection.status == ACTIVE)
    return and_(rule.peering_id.is_not(None), or_(~group_there, ~active))


def stale(tx: Transaction, caller: Caller, vpc_id: str, asked: Selection) -> list[StaleSecurityGroup]:
    """List the groups of a VPC that have stale rules, with those rules, sorted by id; raises MalformedId, NotFound."""
    vpc = lookup.find(tx, caller, "vpc", Vpc, vpc_id)
    rules = (
        select(SecurityGroupRule)
        .join(SecurityGroup, SecurityGroup.id == SecurityGroupRule.group_id)
        .where(SecurityGroup.vpc_id == vpc.id, _is_stale())
        .order_by(SecurityGroupRule.group_id, SecurityGroupRule.id)
    )
    by_group: dict[str, list[SecurityGroupRule]] = {}
    for rule in tx.session.scalars(rules):
        by_group.setdefault(rule.group_id, []).append(rule)
    after = asked.after[0] if asked.after else ""
    page = [group_id for group_id in by_group if group_id > after][: asked.limit]
    statuses = security_groups.peering_statuses(tx, (rule for group_id in page for rule in by_group[group_id]))
    groups = lookup.rows(tx, SecurityGroup, page)
    return [StaleSecurityGroup(group, by_group[group.id], statuses) for group in groups]


def for_vpc(tx: Transaction, caller: Caller, vpc_id: str, asked: Selection) -> list[DescribedGroupForVpc]:
    """List the groups that interfaces of a VPC may have, sorted by id; raises MalformedId, NotFound."""
    vpc = lookup.find(tx, caller, "vpc", Vpc, vpc_id)
    there = SecurityGroup.vpc_id == vpc.id
    group_ids = lookup.select_ids(tx, caller, SecurityGroup.id, asked, there, conditions=FOR_VPC_FILTERS)
    return tags.with_tags(tx, caller.account_id, lookup.rows(tx, SecurityGroup, group_ids))
