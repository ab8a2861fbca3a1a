"""Security groups: found by id or name, and shown with their rules as EC2 groups them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import aliased

from stead_controller.db.tables import SecurityGroup, SecurityGroupRule
from stead_controller.errors import InvalidCombination, MissingParameter, NotFound
from stead_controller.resources import lookup, tags, vpcs
from stead_controller.resources.caller import Caller
from stead_controller.resources.cloud import Cloud
from stead_controller.resources.conditions import (
    NEVER,
    Condition,
    Selection,
    exists_where,
    number,
    text,
)
from stead_controller.resources.permissions import ALL_PROTOCOLS, ANY
from stead_controller.resources.transaction import Transaction

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
        f"{prefix}.prefix-list-id": NEVER,
        f"{prefix}.protocol": exists_where(bound, text(rule.protocol)),
        f"{prefix}.to-port": exists_where(bound, number(rule.to_port)),
        f"{prefix}.user-id": exists_where(peers, text(_Peer.account_id)),
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


def find(tx: Transaction, caller: Caller, *, group_id: str | None, group_name: str | None) -> SecurityGroup:
    """Give the caller's group by id, or by name in the default VPC.

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
    """Give the groups of these names in the caller's default VPC, in the order asked; raises NotFound."""
    vpc = vpcs.find_default(tx, caller)
    query = select(SecurityGroup).where(SecurityGroup.vpc_id == vpc.id, SecurityGroup.name.in_(names))
    found = {group.name: group for group in tx.session.scalars(query)}
    missing = [name for name in dict.fromkeys(names) if name not in found]
    if missing:
        raise NotFound("security-group", missing)
    return [found[name] for name in dict.fromkeys(names)]


def describe(
    tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection, names: Sequence[str]
) -> list[dict[str, Any]]:
    """List the caller's groups in EC2's shape, sorted by id; `names` are those of the default VPC.

    Raises MalformedId, NotFound.
    """
    mine = SecurityGroup.account_id == caller.account_id
    lookup.require(tx, "security-group", SecurityGroup.id, asked.ids, mine)
    if names:
        named = (group.id for group in find_by_names(tx, caller, names))
        asked = replace(asked, ids=tuple({*asked.ids, *named}))
    ids = lookup.select_ids(tx, caller, SecurityGroup.id, asked, mine, conditions=FILTERS)
    found = lookup.rows(tx, SecurityGroup, ids)
    rules = _rules(tx, ids)
    tagged = tags.of(tx, caller.account_id, ids)
    arn = f"arn:{cloud.partition}:ec2:{cloud.region}:{caller.account_id}:security-group"
    return [
        {
            "GroupId": group.id,
            "GroupName": group.name,
            "Description": group.description,
            "OwnerId": group.account_id,
            "VpcId": group.vpc_id,
            "SecurityGroupArn": f"{arn}/{group.id}",
            "IpPermissions": permissions(rule for rule in rules.get(group.id, ()) if not rule.egress),
            "IpPermissionsEgress": permissions(rule for rule in rules.get(group.id, ()) if rule.egress),
            "Tags": tagged.get(group.id, []),
        }
        for group in found
    ]


def permissions(rules: Iterable[SecurityGroupRule]) -> list[dict[str, Any]]:
    """Show rules as EC2's IpPermissions: one for each protocol and ports, with all its peers."""
    grouped: dict[tuple[str, int, int], dict[str, Any]] = {}
    for rule in rules:
        key = (rule.protocol, rule.from_port, rule.to_port)
        if key not in grouped:
            grouped[key] = {
                "IpProtocol": rule.protocol,
                **_ports(rule),
                "IpRanges": [],
                "Ipv6Ranges": [],
                "PrefixListIds": [],
                "UserIdGroupPairs": [],
            }
        shown = grouped[key]
        if rule.cidr_ipv4 is not None:
            shown["IpRanges"].append({"CidrIp": rule.cidr_ipv4, "Description": rule.description})
        elif rule.cidr_ipv6 is not None:
            shown["Ipv6Ranges"].append({"CidrIpv6": rule.cidr_ipv6, "Description": rule.description})
        else:
            pair = {"GroupId": rule.peer_group_id, "UserId": rule.account_id, "Description": rule.description}
            shown["UserIdGroupPairs"].append(pair)
    return list(grouped.values())


def _ports(rule: SecurityGroupRule) -> dict[str, int]:
    if rule.protocol == ALL_PROTOCOLS:
        return {}
    if rule.protocol.isdigit() and rule.from_port == ANY:
        return {}
    return {"FromPort": rule.from_port, "ToPort": rule.to_port}


def _rules(tx: Transaction, group_ids: Sequence[str]) -> dict[str, list[SecurityGroupRule]]:
    found: dict[str, list[SecurityGroupRule]] = {}
    for batch in lookup.batches(group_ids):
        query = select(SecurityGroupRule).where(SecurityGroupRule.group_id.in_(batch)).order_by(SecurityGroupRule.id)
        for rule in tx.session.scalars(query):
            found.setdefault(rule.group_id, []).append(rule)
    return found
