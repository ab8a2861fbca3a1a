"""EC2's operations on VPCs and their parts, interfaces and addresses."""

from collections.abc import Iterator
from typing import Final

from stead_controller.aws.authorization.rule import Asked, Check, Rule, Target, by_id, made, named, referred, rule
from stead_controller.aws.authorization.rules.attributes import setting


def _pass_role(asked: Asked) -> Iterator[Check]:
    """Check the role with which a flow log writes."""
    for arn in asked.values("DeliverLogsPermissionArn"):
        yield Check(Target(arn, context={"iam:PassedToService": "vpc-flow-logs.amazonaws.com"}), "iam:PassRole")


_ADDRESS = named("elastic-ip", "AllocationId")
_ADDRESS_BY_IP = referred("elastic-ip", "address", "PublicIp")
_INTERFACE = named("network-interface", "NetworkInterfaceId")
_ROUTE_TABLE = named("route-table", "RouteTableId")
_SUBNET = named("subnet", "SubnetId")
_VPC = named("vpc", "VpcId")

_ADDRESSES: Final[dict[str, Rule]] = {
    "AllocateAddress": rule(made("elastic-ip", Domain="Domain")),
    "AssociateAddress": rule(_ADDRESS, _ADDRESS_BY_IP, named("instance", "InstanceId"), _INTERFACE),
    "DisassociateAddress": rule(
        referred("elastic-ip", "association", "AssociationId"),
        _ADDRESS_BY_IP,
        referred("network-interface", "association", "AssociationId"),
        referred("network-interface", "address", "PublicIp"),
    ),
    "ReleaseAddress": rule(_ADDRESS, _ADDRESS_BY_IP),
}
_INTERFACES: Final[dict[str, Rule]] = {
    "AssignIpv6Addresses": rule(_INTERFACE),
    "AssignPrivateIpAddresses": rule(_INTERFACE),
    "AttachNetworkInterface": rule(named("instance", "InstanceId"), _INTERFACE),
    "CreateNetworkInterface": rule(made("network-interface"), _SUBNET, named("security-group", "Groups")),
    "DeleteNetworkInterface": rule(_INTERFACE),
    "DetachNetworkInterface": rule(
        referred("instance", "attachment", "AttachmentId"),
        referred("network-interface", "attachment", "AttachmentId"),
    ),
    "ModifyNetworkInterfaceAttribute": rule(setting(_INTERFACE), named("security-group", "Groups")),
    "ResetNetworkInterfaceAttribute": rule(_INTERFACE),
    "UnassignIpv6Addresses": rule(_INTERFACE),
    "UnassignPrivateIpAddresses": rule(_INTERFACE),
}
_ROUTES: Final[dict[str, Rule]] = {
    "AssociateRouteTable": rule(_ROUTE_TABLE, _SUBNET, named("internet-gateway", "GatewayId")),
    "CreateRoute": rule(_ROUTE_TABLE),
    "CreateRouteTable": rule(made("route-table"), _VPC),
    "DeleteRoute": rule(_ROUTE_TABLE, named("prefix-list", "DestinationPrefixListId")),
    "DeleteRouteTable": rule(_ROUTE_TABLE),
    "DisassociateRouteTable": rule(
        referred("route-table", "association", "AssociationId"), referred("subnet", "association", "AssociationId")
    ),
    "ReplaceRoute": rule(_ROUTE_TABLE),
    "ReplaceRouteTableAssociation": rule(
        _ROUTE_TABLE,
        referred("route-table", "association", "AssociationId"),
        referred("subnet", "association", "AssociationId"),
    ),
}
_GATEWAYS: Final[dict[str, Rule]] = {
    "AttachInternetGateway": rule(named("internet-gateway", "InternetGatewayId"), _VPC),
    "CreateEgressOnlyInternetGateway": rule(made("egress-only-internet-gateway"), _VPC),
    "CreateInternetGateway": rule(made("internet-gateway")),
    "CreateNatGateway": rule(made("natgateway"), _SUBNET, _ADDRESS),
    "DeleteEgressOnlyInternetGateway": rule(named("egress-only-internet-gateway", "EgressOnlyInternetGatewayId")),
    "DeleteInternetGateway": rule(named("internet-gateway", "InternetGatewayId")),
    "DeleteNatGateway": rule(named("natgateway", "NatGatewayId")),
    "DetachInternetGateway": rule(named("internet-gateway", "InternetGatewayId"), _VPC),
}
_ACLS: Final[dict[str, Rule]] = {
    "CreateNetworkAcl": rule(made("network-acl"), _VPC),
    "CreateNetworkAclEntry": rule(named("network-acl", "NetworkAclId")),
    "DeleteNetworkAcl": rule(named("network-acl", "NetworkAclId")),
    "DeleteNetworkAclEntry": rule(named("network-acl", "NetworkAclId")),
    "ReplaceNetworkAclAssociation": rule(
        named("network-acl", "NetworkAclId"), referred("subnet", "acl-association", "AssociationId")
    ),
    "ReplaceNetworkAclEntry": rule(named("network-acl", "NetworkAclId")),
}
_VPCS: Final[dict[str, Rule]] = {
    "AssociateDhcpOptions": rule(_VPC, named("dhcp-options", "DhcpOptionsId")),
    "AssociateVpcCidrBlock": rule(_VPC),
    "CreateDefaultVpc": rule(),
    "CreateDhcpOptions": rule(made("dhcp-options")),
    "CreateFlowLogs": rule(made("vpc-flow-log"), by_id("ResourceIds"), _pass_role),
    "CreateVpc": rule(made("vpc", Tenancy="InstanceTenancy")),
    "CreateVpcEndpoint": rule(
        made("vpc-endpoint", VpceServiceName="ServiceName"),
        _VPC,
        named("route-table", "RouteTableIds"),
        named("subnet", "SubnetIds"),
        named("security-group", "SecurityGroupIds"),
    ),
    "DeleteDhcpOptions": rule(named("dhcp-options", "DhcpOptionsId")),
    "DeleteFlowLogs": rule(named("vpc-flow-log", "FlowLogIds")),
    "DeleteVpc": rule(_VPC),
    "DeleteVpcEndpoints": rule(named("vpc-endpoint", "VpcEndpointIds")),
    "DisassociateVpcCidrBlock": rule(referred("vpc", "cidr-association", "AssociationId")),
    "ModifyVpcAttribute": rule(setting(_VPC)),
    "ModifyVpcEndpoint": rule(
        named("vpc-endpoint", "VpcEndpointId"),
        named("route-table", "AddRouteTableIds", "RemoveRouteTableIds"),
        named("subnet", "AddSubnetIds", "RemoveSubnetIds"),
        named("security-group", "AddSecurityGroupIds", "RemoveSecurityGroupIds"),
    ),
    "ModifyVpcTenancy": rule(_VPC),
}
_SUBNETS: Final[dict[str, Rule]] = {
    "AssociateSubnetCidrBlock": rule(_SUBNET),
    "CreateDefaultSubnet": rule(),
    "CreateSubnet": rule(made("subnet"), _VPC),
    "CreateSubnetCidrReservation": rule(made("subnet-cidr-reservation"), _SUBNET),
    "DeleteSubnet": rule(_SUBNET),
    "DeleteSubnetCidrReservation": rule(named("subnet-cidr-reservation", "SubnetCidrReservationId")),
    "DisassociateSubnetCidrBlock": rule(referred("subnet", "cidr-association", "AssociationId")),
    "ModifySubnetAttribute": rule(setting(_SUBNET)),
}
_PEERING: Final = named("vpc-peering-connection", "VpcPeeringConnectionId")
_PEERINGS: Final[dict[str, Rule]] = {
    "AcceptVpcPeeringConnection": rule(_PEERING),
    "CreateVpcPeeringConnection": rule(made("vpc-peering-connection"), _VPC),
    "DeleteVpcPeeringConnection": rule(_PEERING),
    "ModifyVpcPeeringConnectionOptions": rule(_PEERING),
    "RejectVpcPeeringConnection": rule(_PEERING),
}
_PREFIX_LIST: Final = named("prefix-list", "PrefixListId")
_PREFIX_LISTS: Final[dict[str, Rule]] = {
    "CreateManagedPrefixList": rule(made("prefix-list")),
    "DeleteManagedPrefixList": rule(_PREFIX_LIST),
    "ModifyManagedPrefixList": rule(_PREFIX_LIST),
    "RestoreManagedPrefixListVersion": rule(_PREFIX_LIST),
}
_INSIGHTS_PATH: Final = named("network-insights-path", "NetworkInsightsPathId")
_INSIGHTS: Final[dict[str, Rule]] = {
    "CreateNetworkInsightsPath": rule(made("network-insights-path")),
    "DeleteNetworkInsightsAnalysis": rule(named("network-insights-analysis", "NetworkInsightsAnalysisId")),
    "DeleteNetworkInsightsPath": rule(_INSIGHTS_PATH),
    "StartNetworkInsightsAnalysis": rule(made("network-insights-analysis"), _INSIGHTS_PATH),
}

RULES: Final[dict[str, Rule]] = {
    **_ADDRESSES,
    **_INTERFACES,
    **_ROUTES,
    **_GATEWAYS,
    **_ACLS,
    **_VPCS,
    **_SUBNETS,
    **_PEERINGS,
    **_PREFIX_LISTS,
    **_INSIGHTS,
}
