"""NAT gateways as EC2 shows them."""

from typing import Final

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.resources.network.nat_gateways import DescribedNatGateway

_ADDRESS_STATUS: Final = {
    "pending": "associating",
    "available": "succeeded",
    "failed": "failed",
    "deleting": "disassociating",
    "deleted": "succeeded",
}
"""The status of a gateway's address, by the gateway's state."""


def nat_gateway_view(found: DescribedNatGateway) -> Result:
    """Show a NAT gateway."""
    gateway = found.gateway
    shown = {
        "NatGatewayId": gateway.id,
        "State": gateway.state,
        "ConnectivityType": gateway.connectivity,
        "AvailabilityMode": "zonal",
        "SubnetId": gateway.subnet_id,
        "VpcId": gateway.vpc_id,
        "CreateTime": gateway.created,
        "DeleteTime": gateway.deleted,
        "NatGatewayAddresses": [_address_view(found)],
    }
    if gateway.failure_code:
        shown |= {"FailureCode": gateway.failure_code, "FailureMessage": gateway.failure_message}
    return shown | {"Tags": tags_view(found.tags)}


def _address_view(found: DescribedNatGateway) -> Result:
    gateway = found.gateway
    return {
        "AllocationId": gateway.allocation_id,
        "AssociationId": gateway.association_id,
        "NetworkInterfaceId": gateway.interface_id,
        "PrivateIp": gateway.private_address,
        "PublicIp": gateway.public_address,
        "IsPrimary": True,
        "Status": _ADDRESS_STATUS[gateway.state],
    }
