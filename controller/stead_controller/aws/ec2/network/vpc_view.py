"""VPCs, their CIDR blocks and their attributes, as EC2 shows them."""

from ipaddress import IPv6Network
from typing import Final

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.resources.network.vpcs import IPV6_POOL, DescribedVpc, VpcBlockAssociation

ATTRIBUTES: Final = {
    "EnableDnsSupport": "enableDnsSupport",
    "EnableDnsHostnames": "enableDnsHostnames",
    "EnableNetworkAddressUsageMetrics": "enableNetworkAddressUsageMetrics",
}
"""The members of requests and answers that are attributes of a VPC, and the names that DescribeVpcAttribute takes."""

_MEMBERS: Final = {attribute: member for member, attribute in ATTRIBUTES.items()}


def vpc_view(found: DescribedVpc, region: str) -> Result:
    """Show a VPC of the cloud's region."""
    vpc = found.vpc
    return {
        "VpcId": vpc.id,
        "OwnerId": vpc.account_id,
        "State": "available",
        "CidrBlock": vpc.cidr_block,
        "CidrBlockAssociationSet": [_block_view(block, region) for block in found.blocks if not block.ipv6],
        "Ipv6CidrBlockAssociationSet": [_block_view(block, region) for block in found.blocks if block.ipv6],
        "DhcpOptionsId": vpc.dhcp_options_id,
        "InstanceTenancy": vpc.instance_tenancy,
        "IsDefault": vpc.is_default,
        "BlockPublicAccessStates": {"InternetGatewayBlockMode": "off"},
        "Tags": tags_view(found.tags),
    }


def association_view(block: VpcBlockAssociation, region: str) -> Result:
    """Show a block that is being associated with a VPC or disassociated from it."""
    member = "Ipv6CidrBlockAssociation" if block.ipv6 else "CidrBlockAssociation"
    return {"VpcId": block.vpc_id, member: _block_view(block, region)}


def attribute_view(vpc_id: str, attribute: str, *, value: bool) -> Result:
    """Show one attribute of a VPC."""
    return {"VpcId": vpc_id, _MEMBERS[attribute]: {"Value": value}}


def _block_view(block: VpcBlockAssociation, region: str) -> Result:
    if not block.ipv6:
        return {
            "AssociationId": block.association_id,
            "CidrBlock": block.cidr_block,
            "CidrBlockState": {"State": block.state},
        }
    return {
        "AssociationId": block.association_id,
        "Ipv6CidrBlock": block.cidr_block,
        "Ipv6CidrBlockState": {"State": block.state},
        "NetworkBorderGroup": region,
        "Ipv6Pool": IPV6_POOL,
        "Ipv6AddressAttribute": "private" if IPv6Network(block.cidr_block).is_private else "public",
        "IpSource": "amazon",
    }
