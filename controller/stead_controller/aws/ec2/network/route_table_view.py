"""Route tables with their routes and associations, as EC2 shows them."""

from typing import Final

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.request.route_destinations import IPV4, IPV6, PREFIX_LIST
from stead_controller.resources.network.route_tables import LOCAL, DescribedRoute, DescribedRouteTable

_DESTINATIONS: Final = {
    IPV4: "DestinationCidrBlock",
    IPV6: "DestinationIpv6CidrBlock",
    PREFIX_LIST: "DestinationPrefixListId",
}
_TARGETS: Final = {
    LOCAL: "GatewayId",
    "egress-only-internet-gateway": "EgressOnlyInternetGatewayId",
    "internet-gateway": "GatewayId",
    "natgateway": "NatGatewayId",
    "network-interface": "NetworkInterfaceId",
    "vpc-endpoint": "GatewayId",
    "vpc-peering-connection": "VpcPeeringConnectionId",
}


def route_table_view(found: DescribedRouteTable) -> Result:
    """Show a route table."""
    table = found.table
    return {
        "RouteTableId": table.id,
        "VpcId": table.vpc_id,
        "OwnerId": table.account_id,
        "Associations": [
            {
                "RouteTableAssociationId": row.id,
                "RouteTableId": row.route_table_id,
                "Main": row.subnet_id is None,
                "SubnetId": row.subnet_id,
                "AssociationState": {"State": "associated"},
            }
            for row in found.associations
        ],
        "PropagatingVgws": [],
        "Routes": [_route_view(route) for route in found.routes],
        "Tags": tags_view(found.tags),
    }


def _route_view(route: DescribedRoute) -> Result:
    return {
        _DESTINATIONS[route.destination.family]: route.destination.text,
        _TARGETS[route.target_type]: route.target_id,
        "InstanceId": route.instance_id,
        "InstanceOwnerId": route.instance_owner_id,
        "Origin": route.origin,
        "State": "active" if route.live else "blackhole",
    }
