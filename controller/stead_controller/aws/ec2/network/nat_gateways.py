"""CreateNatGateway, DeleteNatGateway, DescribeNatGateways."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import request_digest, tags_on_create
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.network.nat_gateway_view import nat_gateway_view
from stead_controller.errors import MissingParameter, Unsupported
from stead_controller.request.conditions import Selection
from stead_controller.resources.network import nat_gateways
from stead_controller.resources.network.nat_gateways import CreateRequest

_ABSENT = (
    "AvailabilityZoneAddresses",
    "SecondaryAllocationIds",
    "SecondaryPrivateIpAddresses",
    "SecondaryPrivateIpAddressCount",
    "VpcId",
)


@operation("CreateNatGateway")
def create_nat_gateway(call: Call, params: Params) -> Result:
    """Create a NAT gateway."""
    for name in _ABSENT:
        if name in params:
            raise Unsupported(f"{name} is not supported: a NAT gateway has one address, in one zone.")
    if params.get("AvailabilityMode", "zonal") != "zonal":
        raise Unsupported("Regional NAT gateways are not supported.")
    if "SubnetId" not in params:
        raise MissingParameter("SubnetId")
    request = CreateRequest(
        subnet_id=params["SubnetId"],
        connectivity=params.get("ConnectivityType", "public"),
        allocation_id=params.get("AllocationId"),
        private_address=params.get("PrivateIpAddress"),
        client_token=params.get("ClientToken", ""),
        digest=request_digest(params),
        tags=tags_on_create(params, "natgateway"),
    )
    made = nat_gateways.create(call.tx, call.caller, request, call.now)
    (found,) = nat_gateways.describe(call.tx, call.caller, Selection((made,)))
    return {"NatGateway": nat_gateway_view(found), "ClientToken": request.client_token or None}


@operation("DeleteNatGateway")
def delete_nat_gateway(call: Call, params: Params) -> Result:
    """Delete a NAT gateway."""
    nat_gateways.delete(call.tx, call.caller, params["NatGatewayId"], call.now)
    return {"NatGatewayId": params["NatGatewayId"]}


@operation("DescribeNatGateways", writes=False)
def describe_nat_gateways(call: Call, params: Params) -> Result:
    """List NAT gateways."""
    asked, page = selection.paged(call, params, "DescribeNatGateways", nat_gateways.FILTERS, ids="NatGatewayIds")
    found = nat_gateways.describe(call.tx, call.caller, asked)
    return selection.answered("NatGateways", found, page, lambda one: (one.gateway.id,), nat_gateway_view)
