"""Create, delete and find security groups by id, name and filters, with their rules.

See https://docs.aws.amazon.com/vpc/latest/userguide/vpc-security-groups.html.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import delete, func, select
from sqlalchemy.orm import aliased

from stead_controller.catalog import ids
from stead_controller.db.tables import (
    InterfaceGroup,
    SecurityGroup,
    SecurityGroupRule,
    Vpc,
    VpcEndpointGroup,
    VpcPeeringConnection,
)
from stead_controller.errors import (
    AlreadyExists,
    BadRequest,
    InUse,
    InvalidCombination,
    InvalidParameter,
    MissingParameter,
    NotFound,
)
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import Condition, Selection, exists_where, number, text
from stead_controller.request.transaction import Transaction
from stead_controller.resources import quotas, tags
from stead_controller.resources.network import notify_hosts, vpcs
from stead_controller.resources.network.permissions import ALL_PROTOCOLS, ANY

# EC2's default quota: for each Region (https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html)
DEFAULT_NAME: Final = "default"
FORGOTTEN_PEERING: Final = "deleted"
"""The shown status of a peering connection in a rule when the connection is no longer stored."""

_ANY_IPV4: Final = "0.0.0.0/0"
_ANY_IPV6: Final = "::/0"
_TEXT: Final = re.compile(r"[a-zA-Z0-9. _\-:/()#,@\[\]+=&;{}!$*]{1,255}\Z")

_Peer: Final = aliased(SecurityGroup)


def _of_rules(*, egress: bool) -> dict[str, Condition]:
    """The filters about the rules of one direction."""
    rule = SecurityGroupRule
    bound = select(rule.id).where(rule.group_id == SecurityGroup.id, rule.egress.is_(egress)).correlate(SecurityGroup)
    peers = bound.join(_Peer, _Peer.id == rule.peer_group_id)
    prefix = "egress.ip-permission" if egress else "ip-permission"
    return {
        f"{prefix}.cidr": exists_where(bound, text(rule.cidr_ipv4)),
        f"{prefix}.from-port": exists_where(bound, number(rule.from_port)),
        f"{prefix}.group-id": exists_where(bound, text(rule.peer_group_id)),
        f"{prefix}.group-name": exists_where(peers, text(_Peer.name)),
        f"{prefix}.ipv6-cidr": exists_where(bound, text(rule.cidr_ipv6)),
        f"{prefix}.prefix-list-id": exists_where(bound, text(rule.prefix_list_id)),
        f"{prefix}.protocol": exists_where(bound, text(rule.protocol)),
        f"{prefix}.to-port": exists_where(bound, number(rule.to_port)),
        f"{prefix}.user-id": exists_where(
            bound.where(rule.peer_group_id.is_not(None)), text(func.coalesce(rule.peer_account_id, rule.account_id))
        ),
    }


FILTERS: Final[dict[str, Condition]] = {
    "description": text(SecurityGroup.description),
    "group-id": text(SecurityGroup.id),
    "group-name": text(SecurityGroup.name),
    "owner-id": text(SecurityGroup.account_id),
    "vpc-id": text(SecurityGroup.vpc_id),
    **_of_rules(egress=False),
    **_of_rules(egress=True),
}


@dataclass(frozen=True, slots=True)
class DescribedSecurityGroup:
    """A group with its rules of both directions by id, and its tags.

    `peering_statuses` are those of the peering connections, by id, that rules refer through; a connection that is no
    longer stored has none.
    """

    group: SecurityGroup
    arn: str
    rules: Sequence[SecurityGroupRule]
    peering_statuses: Mapping[str, str]
    tags: Sequence[tuple[str, str]]


def create(
    tx: Transaction,
    caller: Caller,
    name: str,
    description: str,
    vpc_id: str | None,
    *,
    group_tags: Mapping[str, str],
    now: datetime,
) -> SecurityGroup:
    """Create a group that allows all outbound traffic, in the default VPC unless another is named.

    Raises InvalidParameter, MalformedId, NotFound, AlreadyExists, LimitExceeded.
    """
    _check_name(name)
    _check_text(description, "GroupDescription")
    vpc = lookup.find(tx, caller, "vpc", Vpc, vpc_id) if vpc_id is not None else vpcs.find_default(tx, caller)
    taken = select(SecurityGroup.id).where(SecurityGroup.vpc_id == vpc.id, SecurityGroup.name == name)
    if tx.session.scalar(taken) is not None:
        raise AlreadyExists("security-group", f"The security group '{name}' already exists for VPC '{vpc.id}'")
    quotas.check(
        tx,
        caller.account_id,
        quotas.SECURITY_GROUPS,
        SecurityGroup.id,
        SecurityGroup.account_id == caller.account_id,
    )
    group = _add(tx, vpc, name, description, now)
    notify_hosts.security_group(tx, group.id, group.vpc_id)
    tags.create_on_launch(tx, caller, [("security-group", group.id)], {"security-group": group_tags})
    notify_hosts.security_group(tx, group.id, group.vpc_id)
    return group


def create_default(tx: Transaction, vpc: Vpc, now: datetime) -> SecurityGroup:
    """Make the default group of a new VPC, whose members may also reach each other."""
    group = _add(tx, vpc, DEFAULT_NAME, "default VPC security group", now)
    tx.session.add(_everything(group, egress=False, peer_group_id=group.id))
    notify_hosts.security_group(tx, group.id, group.vpc_id)
    return group


def allow_ipv6(tx: Transaction, vpc_id: str) -> None:
    """Allow outbound IPv6 in the groups of a VPC with its first IPv6 block, if they still allow all outbound IPv4.

    EC2 does so for the default group, and for each group made later.
    """
    group = tx.session.scalars(
        select(SecurityGroup).where(SecurityGroup.vpc_id == vpc_id, SecurityGroup.name == DEFAULT_NAME)
    ).one()
    rules = _rules(tx, [group.id]).get(group.id, [])
    sends = {rule.cidr_ipv4 or rule.cidr_ipv6 for rule in rules if rule.egress and rule.protocol == ALL_PROTOCOLS}
    if _ANY_IPV4 in sends and _ANY_IPV6 not in sends:
        tx.session.add(_everything(group, egress=True, cidr_ipv6=_ANY_IPV6))
        tx.session.flush()
        notify_hosts.security_group(tx, group.id, group.vpc_id)


def remove(tx: Transaction, caller: Caller, *, group_id: str | None, group_name: str | None) -> str:
    """Delete a group with its rules, and return its id; rules of peered VPCs that refer to it become stale.

    Raises MissingParameter, MalformedId, NotFound; BadRequest for a default group; InUse with an interface or an
    endpoint in it, or with another group of its VPC referring to it.
    """
    group = find(tx, caller, group_id=group_id, group_name=group_name)
    if group.name == DEFAULT_NAME:
        raise BadRequest(
            f'the specified group: "{group.id}" name: "{group.name}" cannot be deleted by a user', code="CannotDelete"
        )
    members = select(InterfaceGroup.interface_id).where(InterfaceGroup.group_id == group.id).limit(1)
    endpoints = select(VpcEndpointGroup.endpoint_id).where(VpcEndpointGroup.group_id == group.id).limit(1)
    referring = (
        select(SecurityGroupRule.id)
        .where(
            SecurityGroupRule.peer_group_id == group.id,
            SecurityGroupRule.group_id != group.id,
            SecurityGroupRule.peering_id.is_(None),
        )
        .limit(1)
    )
    if any(tx.session.scalar(query) is not None for query in (members, endpoints, referring)):
        raise InUse(f"resource {group.id} has a dependent object")
    _delete(tx, group.vpc_id, [group.id])
    return group.id


def remove_default(tx: Transaction, vpc_id: str) -> None:
    """Delete the default group of a VPC that is being deleted; the caller checks for other groups and interfaces."""
    doomed = tx.session.scalars(
        select(SecurityGroup.id).where(SecurityGroup.vpc_id == vpc_id, SecurityGroup.name == DEFAULT_NAME)
    ).all()
    _delete(tx, vpc_id, doomed)


def has_others(tx: Transaction, vpc_id: str) -> bool:
    """Tell whether a VPC has groups besides its default one, so that it cannot be deleted."""
    query = select(SecurityGroup.id).where(SecurityGroup.vpc_id == vpc_id, SecurityGroup.name != DEFAULT_NAME).limit(1)
    return tx.session.scalar(query) is not None


def _delete(tx: Transaction, vpc_id: str, group_ids: Sequence[str]) -> None:
    doomed = tx.session.scalars(select(SecurityGroupRule.id).where(SecurityGroupRule.group_id.in_(group_ids))).all()
    tx.session.execute(delete(SecurityGroupRule).where(SecurityGroupRule.group_id.in_(group_ids)))
    tx.session.execute(delete(SecurityGroup).where(SecurityGroup.id.in_(group_ids)))
    tags.remove_all(tx, [*group_ids, *doomed])
    for group_id in group_ids:
        notify_hosts.security_group(tx, group_id, vpc_id)


def _add(tx: Transaction, vpc: Vpc, name: str, description: str, now: datetime) -> SecurityGroup:
    group = SecurityGroup(
        id=ids.new_id("security-group"),
        account_id=vpc.account_id,
        vpc_id=vpc.id,
        name=name,
        description=description,
        created=now,
    )
    tx.session.add(group)
    tx.session.flush()
    tx.session.add(_everything(group, egress=True, cidr_ipv4=_ANY_IPV4))
    if vpcs.has_ipv6(tx, vpc.id):
        tx.session.add(_everything(group, egress=True, cidr_ipv6=_ANY_IPV6))
    tx.session.flush()
    return group


def _everything(group: SecurityGroup, *, egress: bool, **peer: str) -> SecurityGroupRule:
    return SecurityGroupRule(
        id=ids.new_id("security-group-rule"),
        account_id=group.account_id,
        group_id=group.id,
        egress=egress,
        protocol=ALL_PROTOCOLS,
        from_port=ANY,
        to_port=ANY,
        **peer,
    )


def _check_name(name: str) -> None:
    _check_text(name, "GroupName")
    if name.lower().startswith("sg-"):
        raise InvalidParameter(
            f"Value ({name}) for parameter GroupName is invalid. Group names may not be in the format sg-*"
        )
    if name == DEFAULT_NAME:
        raise InvalidParameter(f"Cannot use reserved security group name: {name}")


def _check_text(given: str, parameter: str) -> None:
    if not given:
        raise MissingParameter(parameter)
    if not _TEXT.match(given):
        raise InvalidParameter(
            f"Value ({given[:80]}) for parameter {parameter} is invalid. It may have up to 255 characters from the "
            "following set: a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*"
        )


def find(tx: Transaction, caller: Caller, *, group_id: str | None, group_name: str | None) -> SecurityGroup:
    """Return the caller's group by id, or by name in the default VPC.

    Raises MissingParameter, InvalidCombination, MalformedId, NotFound.
    """
    if group_id is not None and group_name is not None:
        raise InvalidCombination("The parameters groupId and groupName cannot be used together")
    if group_id is not None:
        return lookup.find(tx, caller, "security-group", SecurityGroup, group_id)
    if group_name is None:
        raise MissingParameter("groupName or groupId")
    (found,) = find_by_names(tx, caller, [group_name])
    return found


def find_by_names(tx: Transaction, caller: Caller, names: Sequence[str]) -> list[SecurityGroup]:
    """Return the groups of these names in the caller's default VPC, in the order asked; raises NotFound."""
    vpc = vpcs.find_default(tx, caller)
    query = select(SecurityGroup).where(SecurityGroup.vpc_id == vpc.id, SecurityGroup.name.in_(names))
    found = {group.name: group for group in tx.session.scalars(query)}
    missing = [name for name in dict.fromkeys(names) if name not in found]
    if missing:
        raise NotFound("security-group", missing)
    return [found[name] for name in dict.fromkeys(names)]


def describe(
    tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection, names: Sequence[str]
) -> list[DescribedSecurityGroup]:
    """Find the caller's groups, sorted by id; `names` are those of the default VPC.

    Raises MalformedId, NotFound.
    """
    mine = SecurityGroup.account_id == caller.account_id
    lookup.require(tx, "security-group", SecurityGroup.id, asked.ids, mine)
    if names:
        named = (group.id for group in find_by_names(tx, caller, names))
        asked = replace(asked, ids=tuple({*asked.ids, *named}))
    group_ids = lookup.select_ids(tx, caller, SecurityGroup.id, asked, mine, conditions=FILTERS)
    found = lookup.rows(tx, SecurityGroup, group_ids)
    rules = _rules(tx, group_ids)
    statuses = peering_statuses(tx, (rule for found_rules in rules.values() for rule in found_rules))
    tagged = tags.pairs_of(tx, caller.account_id, group_ids)
    return [
        DescribedSecurityGroup(group, arn(cloud, group), rules.get(group.id, ()), statuses, tagged.get(group.id, ()))
        for group in found
    ]


def arn(cloud: Cloud, group: SecurityGroup) -> str:
    """The Amazon Resource Name of a group."""
    return f"arn:{cloud.partition}:ec2:{cloud.region}:{group.account_id}:security-group/{group.id}"


def peering_statuses(tx: Transaction, rules: Iterable[SecurityGroupRule]) -> dict[str, str]:
    """Return the state of each peering connection that rules refer through; one no longer stored has no entry."""
    peerings = {rule.peering_id for rule in rules if rule.peering_id is not None}
    return {one.id: one.status for one in lookup.rows(tx, VpcPeeringConnection, sorted(peerings))}


def _rules(tx: Transaction, group_ids: Sequence[str]) -> dict[str, list[SecurityGroupRule]]:
    found: dict[str, list[SecurityGroupRule]] = {}
    for batch in lookup.batches(group_ids):
        query = select(SecurityGroupRule).where(SecurityGroupRule.group_id.in_(batch)).order_by(SecurityGroupRule.id)
        for rule in tx.session.scalars(query):
            found.setdefault(rule.group_id, []).append(rule)
    return found
