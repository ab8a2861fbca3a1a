"""What both sides of a peering connection are shown with."""

from stead_controller.aws.ec2.network.vpc_peering_connection_view import peering_view
from stead_controller.db.tables import VpcPeeringConnection
from stead_controller.resources.network.vpc_peering_connections import DescribedPeering, Side
from tests.support.rows import CLOUD


def test_blocks_are_shown_by_family_and_not_at_all_where_they_are_unknown():
    row = VpcPeeringConnection(id="pcx-1", status="pending-acceptance", message="Pending")
    blocks = ["10.0.0.0/16", "10.1.0.0/16", "2001:db8::/56"]
    near, far = Side("111111111111", "vpc-1", blocks, dns=True), Side("222222222222", "vpc-2", None, dns=False)
    shown = peering_view(CLOUD, DescribedPeering(row, near, far, [("a", "b")]))
    assert shown["RequesterVpcInfo"] == {
        "OwnerId": "111111111111",
        "VpcId": "vpc-1",
        "Region": CLOUD.region,
        "CidrBlock": "10.0.0.0/16",
        "CidrBlockSet": [{"CidrBlock": "10.0.0.0/16"}, {"CidrBlock": "10.1.0.0/16"}],
        "Ipv6CidrBlockSet": [{"Ipv6CidrBlock": "2001:db8::/56"}],
        "PeeringOptions": {
            "AllowDnsResolutionFromRemoteVpc": True,
            "AllowEgressFromLocalClassicLinkToRemoteVpc": False,
            "AllowEgressFromLocalVpcToRemoteClassicLink": False,
        },
    }
    assert shown["AccepterVpcInfo"] == {"OwnerId": "222222222222", "VpcId": "vpc-2", "Region": CLOUD.region}
    assert shown["Tags"] == [{"Key": "a", "Value": "b"}]
