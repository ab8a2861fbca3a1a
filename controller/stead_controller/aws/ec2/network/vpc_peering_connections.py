"""VPC peering connections: Create, Accept, Reject, Delete, Describe, and their options."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import tags_on_create
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.network.vpc_peering_connection_view import (
    options_view,
    peering_view,
    requested_peering_view,
)
from stead_controller.errors import InvalidCombination, Unsupported
from stead_controller.resources.network import vpc_peering_connections
from stead_controller.resources.network.vpc_peering_connections import FILTERS, Asked

_KIND: Final = "vpc-peering-connection"
_DNS: Final = "AllowDnsResolutionFromRemoteVpc"
_UNBUILT: Final = (
    "AllowEgressFromLocalClassicLinkToRemoteVpc",
    "AllowEgressFromLocalVpcToRemoteClassicLink",
    "AllowMultipathResilience",
    "MultipathResilienceMode",
)


@operation("CreateVpcPeeringConnection")
def create_vpc_peering_connection(call: Call, params: Params) -> Result:
    """Request a connection with another VPC."""
    _refuse_unbuilt(params.get("RequesterPeeringConnectionOptions", {}))
    asked = Asked(params["VpcId"], params.get("PeerVpcId"), params.get("PeerOwnerId"), params.get("PeerRegion"))
    row = vpc_peering_connections.create(
        call.tx, call.caller, call.cloud, asked, tags_given=tags_on_create(params, _KIND)[_KIND], now=call.now
    )
    (found,) = vpc_peering_connections.described(call.tx, call.caller, [row])
    return {"VpcPeeringConnection": requested_peering_view(call.cloud, found)}


@operation("AcceptVpcPeeringConnection")
def accept_vpc_peering_connection(call: Call, params: Params) -> Result:
    """Accept a connection."""
    row = vpc_peering_connections.accept(call.tx, call.caller, _peering_id(params), call.now)
    (found,) = vpc_peering_connections.described(call.tx, call.caller, [row])
    return {"VpcPeeringConnection": peering_view(call.cloud, found)}


@operation("RejectVpcPeeringConnection")
def reject_vpc_peering_connection(call: Call, params: Params) -> Result:
    """Reject a connection."""
    vpc_peering_connections.reject(call.tx, call.caller, _peering_id(params), call.now)
    return {"Return": True}


@operation("DeleteVpcPeeringConnection")
def delete_vpc_peering_connection(call: Call, params: Params) -> Result:
    """Delete a connection."""
    vpc_peering_connections.remove(call.tx, call.caller, _peering_id(params), call.now)
    return {"Return": True}


@operation("DescribeVpcPeeringConnections", writes=False)
def describe_vpc_peering_connections(call: Call, params: Params) -> Result:
    """List the connections in which the caller's account is the requester or the accepter."""
    name = "DescribeVpcPeeringConnections"
    asked, page = selection.paged(call, params, name, FILTERS, ids="VpcPeeringConnectionIds")
    found = vpc_peering_connections.describe(call.tx, call.caller, asked)
    view = partial(peering_view, call.cloud)
    return selection.answered("VpcPeeringConnections", found, page, lambda one: (one.connection.id,), view)


@operation("ModifyVpcPeeringConnectionOptions")
def modify_vpc_peering_connection_options(call: Call, params: Params) -> Result:
    """Set whether DNS names of one side are resolved for the other."""
    requester = params.get("RequesterPeeringConnectionOptions")
    accepter = params.get("AccepterPeeringConnectionOptions")
    if requester is None and accepter is None:
        raise InvalidCombination("Give accepterPeeringConnectionOptions or requesterPeeringConnectionOptions")
    for options in (requester, accepter):
        _refuse_unbuilt(options or {})
    row = vpc_peering_connections.modify_options(
        call.tx,
        call.caller,
        _peering_id(params),
        requester_dns=(requester or {}).get(_DNS),
        accepter_dns=(accepter or {}).get(_DNS),
    )
    return {
        "RequesterPeeringConnectionOptions": options_view(dns=row.requester_dns) if requester is not None else None,
        "AccepterPeeringConnectionOptions": options_view(dns=row.accepter_dns) if accepter is not None else None,
    }


def _peering_id(params: Params) -> str:
    peering_id: str = params["VpcPeeringConnectionId"]
    return peering_id


def _refuse_unbuilt(options: Mapping[str, Any]) -> None:
    for name in _UNBUILT:
        if options.get(name):
            raise Unsupported(f"The peering option {name} is not supported.")
