"""Verdicts in EC2's shapes: PathComponent and Explanation.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_PathComponent.html and API_Explanation.html.
"""

from collections.abc import Iterable
from typing import Any, Final

from stead_controller.catalog import ids
from stead_controller.request.cloud import Cloud
from stead_controller.resources.network.reachability.facts import AclRule, GroupRule, Route
from stead_controller.resources.network.reachability.packet import Packet, Range
from stead_controller.resources.network.reachability.verdict import Hop, Reason
from stead_controller.resources.network.reachability.walk import TARGETS

_FINAL_RULE: Final = 32767


def components(cloud: Cloud, account_id: str, hops: Iterable[Hop]) -> list[dict[str, Any]]:
    """Show the hops of a way, numbered from 1."""

    def named(resource_id: str | None) -> dict[str, str] | None:
        return component(cloud, account_id, resource_id)

    return [
        {
            "SequenceNumber": number,
            "Component": named(hop.component_id),
            "AttachedTo": named(hop.attached_to),
            "Vpc": named(hop.vpc_id),
            "Subnet": named(hop.subnet_id),
            "AclRule": acl_rule(hop.acl_rule) if hop.acl_rule is not None else None,
            "SecurityGroupRule": group_rule(hop.component_id, hop.group_rule) if hop.group_rule is not None else None,
            "RouteTableRoute": route(hop.route) if hop.route is not None else None,
            "OutboundHeader": header(hop.packet),
        }
        for number, hop in enumerate(hops, 1)
    ]


def explanations(cloud: Cloud, account_id: str, reasons: Iterable[Reason]) -> list[dict[str, Any]]:
    """Show the reasons against a way."""

    def named(resource_id: str | None) -> dict[str, str] | None:
        return component(cloud, account_id, resource_id)

    shown = []
    for reason in reasons:
        rule = None
        if reason.acl_id is not None:
            rule = acl_rule(reason.acl_rule) if reason.acl_rule else _final_rule(reason)
        shown.append(
            {
                "ExplanationCode": reason.code,
                "Direction": reason.direction,
                "Component": named(reason.component_id),
                "Vpc": named(reason.vpc_id),
                "Subnet": named(reason.subnet_id),
                "NetworkInterface": named(reason.interface_id),
                "Acl": named(reason.acl_id),
                "AclRule": rule,
                "SecurityGroups": [named(group_id) for group_id in reason.group_ids],
                "RouteTable": named(reason.route_table_id),
                "RouteTableRoute": route(reason.route) if reason.route is not None else None,
                "InternetGateway": named(reason.gateway_id) if _is(reason.gateway_id, "internet-gateway") else None,
                "NatGateway": named(reason.gateway_id) if _is(reason.gateway_id, "natgateway") else None,
                "MissingComponent": reason.missing,
                "Address": reason.packet.destination if ":" not in reason.packet.destination else None,
                "Cidrs": [],
                "PortRanges": [_range(one) for one in reason.packet.ports],
                "Protocols": [reason.packet.protocol],
            }
        )
    return shown


def component(cloud: Cloud, account_id: str, resource_id: str | None) -> dict[str, str] | None:
    """Show a resource by its id and its Amazon Resource Name."""
    if resource_id is None:
        return None
    kind = ids.resource_type_of(resource_id)
    arn = f"arn:{cloud.partition}:ec2:{cloud.region}:{account_id}:{kind}/{resource_id}"
    return {"Id": resource_id, "Arn": arn}


def header(packet: Packet) -> dict[str, Any]:
    """Show a packet's header at one place of its way."""
    return {
        "Protocol": packet.protocol,
        "SourceAddresses": [_block(packet.source)],
        "DestinationAddresses": [_block(packet.destination)],
        "SourcePortRanges": [_range(one) for one in packet.source_ports],
        "DestinationPortRanges": [_range(one) for one in packet.ports],
    }


def acl_rule(rule: AclRule) -> dict[str, Any]:
    """Show an entry of an ACL."""
    ports = rule.protocol in ("6", "17") and rule.first is not None and rule.last is not None
    return {
        "RuleNumber": rule.number,
        "Egress": rule.egress,
        "RuleAction": "allow" if rule.allow else "deny",
        "Protocol": "all" if rule.protocol == "-1" else rule.protocol,
        "Cidr": rule.block,
        "PortRange": {"From": rule.first, "To": rule.last} if ports else None,
    }


def group_rule(group_id: str, rule: GroupRule) -> dict[str, Any]:
    """Show a rule of a group."""
    return {
        "SecurityGroupId": rule.group_id or group_id,
        "Direction": "egress" if rule.egress else "ingress",
        "Protocol": "all" if rule.protocol == "-1" else rule.protocol,
        "Cidr": rule.blocks[0] if rule.blocks and rule.prefix_list_id is None else None,
        "PrefixListId": rule.prefix_list_id,
        "PortRange": {"From": rule.first, "To": rule.last} if rule.protocol in ("6", "17") else None,
    }


def route(shown: Route) -> dict[str, Any]:
    """Show a route of a table."""
    return {
        "DestinationCidr": shown.destination if shown.prefix_list_id is None else None,
        "DestinationPrefixListId": shown.prefix_list_id,
        TARGETS[shown.target_type]: shown.target_id,
        "Origin": "createroutetable" if shown.target_type == "local" else "createroute",
        "State": "blackhole" if shown.dead else "active",
    }


def _final_rule(reason: Reason) -> dict[str, Any]:
    block = "::/0" if reason.packet.ipv6 else "0.0.0.0/0"
    return acl_rule(AclRule(_FINAL_RULE, reason.direction == "egress", False, "-1", block))


def _range(ports: Range) -> dict[str, int]:
    return {"From": ports[0], "To": ports[1]}


def _block(address: str) -> str:
    return f"{address}/128" if ":" in address else f"{address}/32"


def _is(resource_id: str | None, kind: str) -> bool:
    return resource_id is not None and ids.resource_type_of(resource_id) == kind
