"""Elastic IP addresses as EC2 shows them."""

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.request.cloud import Cloud
from stead_controller.resources.network.elastic_addresses import Allocation, Association, DescribedElasticAddress


def elastic_address_view(cloud: Cloud, found: DescribedElasticAddress) -> Result:
    """Show an address with what it is associated with."""
    shown = allocation_view(cloud, found.allocation)
    if found.association is not None:
        shown |= _association_view(found.association)
    return shown | {"Tags": tags_view(found.tags)}


def allocation_view(cloud: Cloud, allocation: Allocation) -> Result:
    """Show an allocated address."""
    return attribute_view(allocation) | {
        "Domain": "vpc",
        "PublicIpv4Pool": "amazon",
        "NetworkBorderGroup": cloud.region,
    }


def attribute_view(allocation: Allocation) -> Result:
    """Show an address's attributes; it has no reverse DNS name."""
    return {"AllocationId": allocation.id, "PublicIp": allocation.address}


def _association_view(association: Association) -> Result:
    return {
        "AssociationId": association.id,
        "InstanceId": association.instance_id,
        "NetworkInterfaceId": association.interface_id,
        "NetworkInterfaceOwnerId": association.interface_account_id,
        "PrivateIpAddress": association.private_address,
    }
