"""CreateRoute, ReplaceRoute and DeleteRoute."""

from typing import Final

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.errors import Unsupported
from stead_controller.request import route_destinations
from stead_controller.request.route_destinations import Destination
from stead_controller.request.route_target import TargetRequest
from stead_controller.resources.network import routes

_UNSUPPORTED: Final = {
    "CarrierGatewayId": "carrier gateways",
    "CoreNetworkArn": "core networks",
    "LocalGatewayId": "local gateways",
    "OdbNetworkArn": "ODB networks",
    "TransitGatewayId": "transit gateways",
    "VpcEndpointId": "VPC endpoints",
}


@operation("CreateRoute")
def create(call: Call, params: Params) -> Result:
    """Add a route to a route table."""
    routes.create(call.tx, call.caller, params["RouteTableId"], _destination(params), _target(params), now=call.now)
    return {"Return": True}


@operation("ReplaceRoute")
def replace(call: Call, params: Params) -> Result:
    """Replace the target of a route."""
    routes.replace(call.tx, call.caller, params["RouteTableId"], _destination(params), _target(params), now=call.now)
    return {}


@operation("DeleteRoute")
def delete(call: Call, params: Params) -> Result:
    """Delete a route."""
    routes.remove(call.tx, call.caller, params["RouteTableId"], _destination(params))
    return {}


def _destination(params: Params) -> Destination:
    return route_destinations.read(
        params.get("DestinationCidrBlock"),
        params.get("DestinationIpv6CidrBlock"),
        params.get("DestinationPrefixListId"),
    )


def _target(params: Params) -> TargetRequest:
    for name, what in _UNSUPPORTED.items():
        if name in params:
            raise Unsupported(f"Routes to {what} are not supported by this cloud ({name}).")
    return TargetRequest(
        gateway_id=params.get("GatewayId"),
        nat_gateway_id=params.get("NatGatewayId"),
        interface_id=params.get("NetworkInterfaceId"),
        instance_id=params.get("InstanceId"),
        egress_only_gateway_id=params.get("EgressOnlyInternetGatewayId"),
        peering_id=params.get("VpcPeeringConnectionId"),
        local=params.get("LocalTarget", False),
    )
