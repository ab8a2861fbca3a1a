"""Network Insights paths and analyses as EC2 shows them, and verdicts in its shapes PathComponent and Explanation.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_PathComponent.html and API_Explanation.html.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Final

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.catalog import ids
from stead_controller.request.cloud import Cloud
from stead_controller.resources.network.network_insights import DescribedAnalysis, DescribedPath, PacketFilter, arn
from stead_controller.resources.network.reachability.facts import (
    EGRESS_ONLY_GATEWAY,
    INTERFACE,
    INTERNET_GATEWAY,
    LOCAL,
    NAT_GATEWAY,
    PEERING,
    VPC_ENDPOINT,
    AclRule,
    GroupRule,
    Route,
)
from stead_controller.resources.network.reachability.packet import Packet, Range
from stead_controller.resources.network.reachability.verdict import Hop, Reason, Verdict

_FINAL_RULE: Final = 32767
_TARGETS: Final[Mapping[str, str]] = {
    INTERNET_GATEWAY: "GatewayId",
    EGRESS_ONLY_GATEWAY: "EgressOnlyInternetGatewayId",
    NAT_GATEWAY: "NatGatewayId",
    INTERFACE: "NetworkInterfaceId",
    PEERING: "VpcPeeringConnectionId",
    VPC_ENDPOINT: "GatewayId",
    LOCAL: "GatewayId",
}
"""The member that has the target of a route, by the target's type."""


def path_view(found: DescribedPath) -> Result:
    """Show a path."""
    path = found.path
    return {
        "NetworkInsightsPathId": path.id,
        "NetworkInsightsPathArn": found.arn,
        "CreatedDate": path.created,
        "Source": path.source,
        "SourceArn": found.source_arn,
        "Destination": path.destination,
        "DestinationArn": found.destination_arn,
        "SourceIp": path.source_ip,
        "DestinationIp": path.destination_ip,
        "Protocol": path.protocol,
        "DestinationPort": path.destination_port,
        "FilterAtSource": _filter_view(found.at_source),
        "FilterAtDestination": _filter_view(found.at_destination),
        "Tags": tags_view(found.tags),
    }


def _filter_view(chosen: PacketFilter) -> Result | None:
    shown: Result = {}
    if chosen.source_address is not None:
        shown["SourceAddress"] = chosen.source_address
    if chosen.source_ports is not None:
        shown["SourcePortRange"] = _filter_range(chosen.source_ports)
    if chosen.destination_address is not None:
        shown["DestinationAddress"] = chosen.destination_address
    if chosen.destination_ports is not None:
        shown["DestinationPortRange"] = _filter_range(chosen.destination_ports)
    return shown or None


def _filter_range(ports: Range) -> Result:
    return {"FromPort": ports[0], "ToPort": ports[1]}


def analysis_view(found: DescribedAnalysis) -> Result:
    """Show an analysis with all its findings."""
    row = found.analysis
    return {
        "NetworkInsightsAnalysisId": row.id,
        "NetworkInsightsAnalysisArn": found.arn,
        "NetworkInsightsPathId": row.path_id,
        "StartDate": row.started,
        "Status": row.status,
        "StatusMessage": row.status_message or None,
        "NetworkPathFound": row.path_found,
        "Tags": tags_view(found.tags),
        **json.loads(row.result),
    }


def started_analysis_view(found: DescribedAnalysis) -> Result:
    """Show an analysis as one that is still running: EC2 answers at once, and shows the findings in later calls."""
    row = found.analysis
    return {
        "NetworkInsightsAnalysisId": row.id,
        "NetworkInsightsAnalysisArn": found.arn,
        "NetworkInsightsPathId": row.path_id,
        "StartDate": row.started,
        "Tags": tags_view(found.tags),
        "Status": "running",
    }


def result_text(cloud: Cloud, account_id: str, verdict: Verdict) -> str:
    """Return a verdict as JSON with the members of an analysis that `analysis_view` shows, as of now."""
    reached = verdict.reachable
    result = {
        "ForwardPathComponents": components(cloud, account_id, verdict.forward) if reached else [],
        "ReturnPathComponents": components(cloud, account_id, verdict.back) if reached else [],
        "Explanations": explanations(cloud, account_id, verdict.reasons),
        "WarningMessage": " ".join(verdict.warnings) or None,
    }
    return json.dumps(result, separators=(",", ":"))


def components(cloud: Cloud, account_id: str, hops: Iterable[Hop]) -> list[Result]:
    """Show the hops of a path, numbered from 1."""

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


def explanations(cloud: Cloud, account_id: str, reasons: Iterable[Reason]) -> list[Result]:
    """Show the reasons why a path is not reachable."""

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
    return {"Id": resource_id, "Arn": arn(cloud, account_id, resource_id)}


def header(packet: Packet) -> Result:
    """Show a packet's header at one point of its path."""
    return {
        "Protocol": packet.protocol,
        "SourceAddresses": [_block(packet.source)],
        "DestinationAddresses": [_block(packet.destination)],
        "SourcePortRanges": [_range(one) for one in packet.source_ports],
        "DestinationPortRanges": [_range(one) for one in packet.ports],
    }


def acl_rule(rule: AclRule) -> Result:
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


def group_rule(group_id: str, rule: GroupRule) -> Result:
    """Show a rule of a group."""
    return {
        "SecurityGroupId": rule.group_id or group_id,
        "Direction": "egress" if rule.egress else "ingress",
        "Protocol": "all" if rule.protocol == "-1" else rule.protocol,
        "Cidr": rule.blocks[0] if rule.blocks and rule.prefix_list_id is None else None,
        "PrefixListId": rule.prefix_list_id,
        "PortRange": {"From": rule.first, "To": rule.last} if rule.protocol in ("6", "17") else None,
    }


def route(shown: Route) -> Result:
    """Show a route of a table."""
    return {
        "DestinationCidr": shown.destination if shown.prefix_list_id is None else None,
        "DestinationPrefixListId": shown.prefix_list_id,
        _TARGETS[shown.target_type]: shown.target_id,
        "Origin": "createroutetable" if shown.target_type == "local" else "createroute",
        "State": "blackhole" if shown.dead else "active",
    }


def _final_rule(reason: Reason) -> Result:
    block = "::/0" if reason.packet.ipv6 else "0.0.0.0/0"
    return acl_rule(AclRule(_FINAL_RULE, reason.direction == "egress", False, "-1", block))


def _range(ports: Range) -> dict[str, int]:
    return {"From": ports[0], "To": ports[1]}


def _block(address: str) -> str:
    return f"{address}/128" if ":" in address else f"{address}/32"


def _is(resource_id: str | None, kind: str) -> bool:
    return resource_id is not None and ids.resource_type_of(resource_id) == kind
