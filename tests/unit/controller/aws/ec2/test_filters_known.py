"""Every filter that EC2's own documentation lists for a Describe is known to ours, and can be asked."""

import html
import re

import pytest

from stead_controller.aws.protocol.models import load_service
from stead_controller.request.filters import is_tag_filter
from stead_controller.resources import regions, tags
from stead_controller.resources.images import images
from stead_controller.resources.instances import instance_filters, instance_status, key_pairs, offered_types
from stead_controller.resources.network import (
    describe_vpc_endpoints,
    dhcp_options,
    elastic_addresses,
    flow_logs,
    internet_gateways,
    nat_gateways,
    network_acls,
    network_interface_filters,
    prefix_lists,
    route_tables,
    security_group_rules,
    security_groups,
    subnet_cidr_reservations,
    subnets,
    vpc_endpoint_services,
    vpc_peering_connections,
    vpcs,
)
from stead_controller.resources.storage import snapshots, volume_modifications, volume_status, volumes
from tests.support.rows import CLOUD, caller

KNOWN = {
    "DescribeAddresses": elastic_addresses.conditions(CLOUD),
    "DescribeAvailabilityZones": regions.ZONE_FILTERS,
    "DescribeFlowLogs": flow_logs.FILTERS,
    "DescribeDhcpOptions": dhcp_options.FILTERS,
    "DescribeImages": images.FILTERS,
    "DescribeInstanceStatus": instance_status.conditions(CLOUD),
    "DescribeInstanceTypeOfferings": offered_types.OFFERING_FILTERS,
    "DescribeInstanceTypes": offered_types.FILTERS,
    "DescribeInstances": instance_filters.conditions(CLOUD),
    "DescribeInternetGateways": internet_gateways.FILTERS,
    "DescribeKeyPairs": key_pairs.FILTERS,
    "DescribeNetworkAcls": network_acls.FILTERS,
    "DescribeNatGateways": nat_gateways.FILTERS,
    "DescribeNetworkInterfaces": network_interface_filters.conditions(CLOUD),
    "DescribeManagedPrefixLists": prefix_lists.FILTERS,
    "DescribeRegions": regions.REGION_FILTERS,
    "DescribeRouteTables": route_tables.FILTERS,
    "DescribeSecurityGroupRules": security_group_rules.FILTERS,
    "DescribeSecurityGroups": security_groups.FILTERS,
    "DescribeSnapshots": snapshots.FILTERS,
    "DescribeSubnets": subnets.conditions(caller("111111111111"), CLOUD),
    "DescribeTags": tags.FILTERS,
    "DescribeVolumeStatus": volume_status.FILTERS,
    "DescribeVolumes": volumes.conditions(CLOUD),
    "DescribeVolumesModifications": volume_modifications.FILTERS,
    "DescribeVpcEndpointServices": vpc_endpoint_services.FILTERS,
    "DescribeVpcEndpoints": describe_vpc_endpoints.FILTERS,
    "DescribeVpcPeeringConnections": vpc_peering_connections.FILTERS,
    "DescribeVpcs": vpcs.FILTERS,
    "GetSubnetCidrReservations": subnet_cidr_reservations.FILTERS,
}
# Found in the documentation's lists, but no filters: names of severities in the text of another.
NO_FILTERS = {"low", "medium", "high", "critical", "informational", "untriaged", "tag"}
ITEM = re.compile(r"<li>\s*<p>\s*<code>([^<]+)</code>\s*[-\u2013:]")


def documented(operation: str) -> set[str]:
    shape = load_service("ec2").operation(operation).input_shape
    member = shape.members.get("Filters") or shape.members["Filter"]
    return {html.unescape(name).strip() for name in ITEM.findall(member.documentation)}


@pytest.mark.parametrize("operation", sorted(KNOWN))
def test_documented_filters_are_known(operation):
    names = {name for name in documented(operation) if not is_tag_filter(name) and name not in NO_FILTERS}
    assert names
    assert sorted(names - set(KNOWN[operation])) == []
