"""Routes as EC2 shows them: each kind of destination and of target by a member of its own."""

import pytest

from stead_controller.aws.ec2.network.route_table_view import route_table_view
from stead_controller.db.tables import RouteTable
from stead_controller.desired import route_targets
from stead_controller.request.route_destinations import IPV4, IPV6, PREFIX_LIST, Destination
from stead_controller.resources.network.route_tables import LOCAL, DescribedRoute, DescribedRouteTable

MEMBERS = {
    LOCAL: "GatewayId",
    route_targets.INTERNET_GATEWAY: "GatewayId",
    route_targets.EGRESS_ONLY_GATEWAY: "EgressOnlyInternetGatewayId",
    route_targets.NAT_GATEWAY: "NatGatewayId",
    route_targets.INTERFACE: "NetworkInterfaceId",
    route_targets.PEERING: "VpcPeeringConnectionId",
    route_targets.VPC_ENDPOINT: "GatewayId",
}


def shown(route):
    (one,) = route_table_view(DescribedRouteTable(RouteTable(id="rtb-1"), [], [route], []))["Routes"]
    return {name: value for name, value in one.items() if value is not None}


@pytest.mark.parametrize("target_type", [LOCAL, *route_targets.TYPES])
def test_targets(target_type):
    route = DescribedRoute(Destination(IPV4, "10.0.0.0/8"), target_type, "target", "CreateRoute")
    assert shown(route) == {
        "DestinationCidrBlock": "10.0.0.0/8",
        MEMBERS[target_type]: "target",
        "Origin": "CreateRoute",
        "State": "active",
    }


@pytest.mark.parametrize(
    ("family", "member"),
    [
        (IPV4, "DestinationCidrBlock"),
        (IPV6, "DestinationIpv6CidrBlock"),
        (PREFIX_LIST, "DestinationPrefixListId"),
    ],
)
def test_destinations(family, member):
    route = DescribedRoute(Destination(family, "there"), LOCAL, LOCAL, "CreateRouteTable", live=False)
    assert shown(route) == {
        member: "there",
        "GatewayId": "local",
        "Origin": "CreateRouteTable",
        "State": "blackhole",
    }
