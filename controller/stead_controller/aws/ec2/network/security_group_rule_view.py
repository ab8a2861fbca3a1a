"""Rules of security groups as EC2 shows them: as single rules, and as permissions with all their peers."""

from collections.abc import Iterable, Mapping

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.resources.network.permissions import ALL_PROTOCOLS, ANY
from stead_controller.resources.network.security_group_rules import DescribedSecurityGroupRule, RuleRow
from stead_controller.resources.network.security_groups import FORGOTTEN_PEERING


def rule_view(found: DescribedSecurityGroupRule) -> Result:
    """Show a rule."""
    rule = found.rule
    return {
        **_without_peer(rule),
        "GroupOwnerId": rule.account_id,
        "SecurityGroupRuleArn": found.arn,
        "ReferencedGroupInfo": _peer_view(rule, found.peering_status) if rule.peer_group_id else None,
        "Tags": tags_view(found.tags),
    }


def revoked_rule_view(rule: RuleRow) -> Result:
    """Show a rule that was revoked."""
    return {**_without_peer(rule), "ReferencedGroupId": rule.peer_group_id}


def permissions_view(rules: Iterable[RuleRow], peering_statuses: Mapping[str, str]) -> list[Result]:
    """Show rules as IpPermissions, one per protocol and port range; statuses of peering connections are by id."""
    grouped: dict[tuple[str, int, int], Result] = {}
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
        elif rule.prefix_list_id is not None:
            listed = {"PrefixListId": rule.prefix_list_id, "Description": rule.description}
            shown["PrefixListIds"].append(listed)
        else:
            status = peering_statuses.get(rule.peering_id or "", FORGOTTEN_PEERING)
            shown["UserIdGroupPairs"].append({**_peer_view(rule, status), "Description": rule.description})
    return list(grouped.values())


def _without_peer(rule: RuleRow) -> Result:
    return {
        "SecurityGroupRuleId": rule.id,
        "GroupId": rule.group_id,
        "IsEgress": rule.egress,
        "IpProtocol": rule.protocol,
        "FromPort": rule.from_port,
        "ToPort": rule.to_port,
        "CidrIpv4": rule.cidr_ipv4,
        "CidrIpv6": rule.cidr_ipv6,
        "PrefixListId": rule.prefix_list_id,
        "Description": rule.description,
    }


def _peer_view(rule: RuleRow, peering_status: str | None) -> Result:
    """Show the group that a rule refers to."""
    shown = {"GroupId": rule.peer_group_id, "UserId": rule.peer_account_id or rule.account_id}
    if rule.peering_id is None:
        return shown
    return {
        **shown,
        "VpcId": rule.peer_vpc_id,
        "VpcPeeringConnectionId": rule.peering_id,
        "PeeringStatus": peering_status,
    }


def _ports(rule: RuleRow) -> Result:
    if rule.protocol == ALL_PROTOCOLS or (rule.protocol.isdigit() and rule.from_port == ANY):
        return {}
    return {"FromPort": rule.from_port, "ToPort": rule.to_port}
