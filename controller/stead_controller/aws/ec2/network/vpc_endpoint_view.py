"""VPC endpoints as EC2 shows them."""

import json
from typing import Final

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.request.cloud import Cloud
from stead_controller.resources.network.describe_vpc_endpoints import DescribedVpcEndpoint
from stead_controller.resources.network.vpc_endpoint_services import has_gateways

_DEFAULT_POLICY: Final = json.dumps(
    {
        "Version": "2008-10-17",
        "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}],
    }
)
"""The policy of an endpoint that was created without one."""


def vpc_endpoint_view(cloud: Cloud, found: DescribedVpcEndpoint) -> Result:
    """Show an endpoint."""
    row = found.endpoint
    return {
        "VpcEndpointId": row.id,
        "VpcEndpointType": row.endpoint_type,
        "VpcId": row.vpc_id,
        "ServiceName": row.service,
        "ServiceRegion": cloud.region,
        "State": row.state,
        "PolicyDocument": row.policy or _DEFAULT_POLICY,
        "RouteTableIds": found.route_table_ids,
        "SubnetIds": [one.subnet_id for one in found.interfaces],
        "Groups": [{"GroupId": group_id, "GroupName": name} for group_id, name in found.groups],
        "IpAddressType": "ipv4",
        "DnsOptions": _dns_options_view(found),
        "PrivateDnsEnabled": row.private_dns,
        "RequesterManaged": False,
        "NetworkInterfaceIds": [one.interface_id for one in found.interfaces],
        "DnsEntries": [{"DnsName": name} for name in found.dns_names],
        "LastError": _error_view(found.failed_interface_id),
        "CreationTimestamp": row.created,
        "Tags": tags_view(found.tags),
        "OwnerId": row.account_id,
    }


def _dns_options_view(found: DescribedVpcEndpoint) -> Result:
    row = found.endpoint
    shown: Result = {"DnsRecordIpType": "ipv4"}
    if row.private_dns and has_gateways(row.service):
        shown["PrivateDnsOnlyForInboundResolverEndpoint"] = row.private_dns_only_inbound
    return shown


def _error_view(failed_interface_id: str | None) -> Result | None:
    if failed_interface_id is None:
        return None
    return {"Code": "InternalError", "Message": f"The interface {failed_interface_id} could not be created"}
