"""VPC peering connections as EC2 shows them."""

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.request.cloud import Cloud
from stead_controller.resources.network.vpc_peering_connections import DescribedPeering, Side


def peering_view(cloud: Cloud, found: DescribedPeering) -> Result:
    """Show a connection."""
    row = found.connection
    return {
        "VpcPeeringConnectionId": row.id,
        "RequesterVpcInfo": _side_view(cloud, found.requester),
        "AccepterVpcInfo": _side_view(cloud, found.accepter),
        "ExpirationTime": row.expires,
        "Status": {"Code": row.status, "Message": row.message},
        "Tags": tags_view(found.tags),
    }


def requested_peering_view(cloud: Cloud, found: DescribedPeering) -> Result:
    """Show a new connection: EC2 answers before it checks whether the request can succeed."""
    message = f"Initiating Request to {found.accepter.account_id}"
    return peering_view(cloud, found) | {"Status": {"Code": "initiating-request", "Message": message}}


def options_view(*, dns: bool) -> Result:
    """Show the options of one side."""
    return {
        "AllowDnsResolutionFromRemoteVpc": dns,
        "AllowEgressFromLocalClassicLinkToRemoteVpc": False,
        "AllowEgressFromLocalVpcToRemoteClassicLink": False,
    }


def _side_view(cloud: Cloud, side: Side) -> Result:
    shown: Result = {"OwnerId": side.account_id, "VpcId": side.vpc_id, "Region": cloud.region}
    if side.blocks is None:
        return shown
    ipv4 = [block for block in side.blocks if ":" not in block]
    return shown | {
        "CidrBlock": ipv4[0] if ipv4 else None,
        "CidrBlockSet": [{"CidrBlock": block} for block in ipv4],
        "Ipv6CidrBlockSet": [{"Ipv6CidrBlock": block} for block in side.blocks if ":" in block],
        "PeeringOptions": options_view(dns=side.dns),
    }
