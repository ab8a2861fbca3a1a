"""Internet gateways, and egress-only ones, as EC2 shows them."""

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.resources.network.egress_only_gateways import DescribedEgressOnlyGateway
from stead_controller.resources.network.internet_gateways import DescribedInternetGateway


def internet_gateway_view(found: DescribedInternetGateway) -> Result:
    """Show an internet gateway; the state of its attachment is `available`, whatever the model's enum says."""
    gateway = found.row
    return {
        "InternetGatewayId": gateway.id,
        "OwnerId": gateway.account_id,
        "Attachments": [] if gateway.vpc_id is None else [{"State": "available", "VpcId": gateway.vpc_id}],
        "Tags": tags_view(found.tags),
    }


def egress_only_gateway_view(found: DescribedEgressOnlyGateway) -> Result:
    """Show an egress-only internet gateway."""
    gateway = found.row
    return {
        "EgressOnlyInternetGatewayId": gateway.id,
        "Attachments": [{"State": "attached", "VpcId": gateway.vpc_id}],
        "Tags": tags_view(found.tags),
    }
