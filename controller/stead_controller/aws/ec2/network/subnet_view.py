"""Subnets as EC2 shows them."""

from ipaddress import IPv6Network

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.resources.network.subnets import DescribedSubnet, SubnetCidrBlock


def subnet_view(found: DescribedSubnet) -> Result:
    """Show a subnet."""
    subnet = found.subnet
    return {
        "SubnetId": subnet.id,
        "SubnetArn": found.arn,
        "VpcId": subnet.vpc_id,
        "OwnerId": subnet.account_id,
        "State": "available",
        "CidrBlock": subnet.cidr_block,
        "AvailableIpAddressCount": found.free_addresses,
        "AvailabilityZone": subnet.zone,
        "AvailabilityZoneId": found.zone_id,
        "DefaultForAz": subnet.default_for_zone,
        "MapPublicIpOnLaunch": subnet.map_public_address,
        "MapCustomerOwnedIpOnLaunch": False,
        "AssignIpv6AddressOnCreation": subnet.assign_ipv6_address,
        "Ipv6CidrBlockAssociationSet": [ipv6_view(block) for block in found.ipv6_blocks],
        "EnableDns64": subnet.dns64,
        "Ipv6Native": subnet.cidr_block is None,
        "PrivateDnsNameOptionsOnLaunch": {
            "HostnameType": subnet.hostname_type,
            "EnableResourceNameDnsARecord": subnet.resource_name_a_record,
            "EnableResourceNameDnsAAAARecord": subnet.resource_name_aaaa_record,
        },
        "BlockPublicAccessStates": {"InternetGatewayBlockMode": "off"},
        "Tags": tags_view(found.tags),
    }


def association_view(block: SubnetCidrBlock) -> Result:
    """Show an IPv6 block that is being associated with a subnet or disassociated from it."""
    return {"SubnetId": block.subnet_id, "Ipv6CidrBlockAssociation": ipv6_view(block)}


def ipv6_view(block: SubnetCidrBlock) -> Result:
    """Show the association of an IPv6 block with a subnet."""
    return {
        "AssociationId": block.association_id,
        "Ipv6CidrBlock": block.cidr_block,
        "Ipv6CidrBlockState": {"State": block.state},
        "Ipv6AddressAttribute": "private" if IPv6Network(block.cidr_block).is_private else "public",
        "IpSource": "amazon",
    }
