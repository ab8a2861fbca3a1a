"""Create, Delete, Attach, Detach and Describe of internet gateways, and of egress-only ones."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import repeatable, tags_on_create
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.network.internet_gateway_view import egress_only_gateway_view, internet_gateway_view
from stead_controller.request import client_tokens
from stead_controller.request.conditions import Selection
from stead_controller.resources.network import egress_only_gateways, internet_gateways


@operation("CreateInternetGateway")
def create(call: Call, params: Params) -> Result:
    """Create an internet gateway."""
    tags = tags_on_create(params, "internet-gateway")["internet-gateway"]
    made = internet_gateways.create(call.tx, call.caller, tags, call.now)
    return {"InternetGateway": internet_gateway_view(made)}


@operation("DeleteInternetGateway")
def delete(call: Call, params: Params) -> Result:
    """Delete an internet gateway that is not attached."""
    internet_gateways.remove(call.tx, call.caller, params["InternetGatewayId"])
    return {}


@operation("AttachInternetGateway")
def attach(call: Call, params: Params) -> Result:
    """Attach an internet gateway to a VPC."""
    internet_gateways.attach(call.tx, call.caller, params["InternetGatewayId"], params["VpcId"])
    return {}


@operation("DetachInternetGateway")
def detach(call: Call, params: Params) -> Result:
    """Detach an internet gateway from its VPC."""
    internet_gateways.detach(call.tx, call.caller, params["InternetGatewayId"], params["VpcId"])
    return {}


@operation("DescribeInternetGateways", writes=False)
def describe(call: Call, params: Params) -> Result:
    """List internet gateways."""
    known = internet_gateways.FILTERS
    asked, page = selection.paged(call, params, "DescribeInternetGateways", known, ids="InternetGatewayIds")
    found = internet_gateways.describe(call.tx, call.caller, asked)
    return selection.answered("InternetGateways", found, page, lambda one: (one.row.id,), internet_gateway_view)


@operation("CreateEgressOnlyInternetGateway")
def create_egress_only(call: Call, params: Params) -> Result:
    """Create an egress-only internet gateway of a VPC."""
    vpc_id = params["VpcId"]
    tags = tags_on_create(params, "egress-only-internet-gateway")["egress-only-internet-gateway"]
    made = client_tokens.once(
        call.tx,
        call.caller,
        repeatable("CreateEgressOnlyInternetGateway", params),
        call.now,
        lambda: egress_only_gateways.create(call.tx, call.caller, vpc_id, tags, call.now).id,
    )
    [found] = egress_only_gateways.describe(call.tx, call.caller, Selection((made,)))
    return {"ClientToken": params.get("ClientToken"), "EgressOnlyInternetGateway": egress_only_gateway_view(found)}


@operation("DeleteEgressOnlyInternetGateway")
def delete_egress_only(call: Call, params: Params) -> Result:
    """Delete an egress-only internet gateway."""
    egress_only_gateways.remove(call.tx, call.caller, params["EgressOnlyInternetGatewayId"])
    return {"ReturnCode": True}


@operation("DescribeEgressOnlyInternetGateways", writes=False)
def describe_egress_only(call: Call, params: Params) -> Result:
    """List egress-only internet gateways."""
    asked, page = selection.paged(
        call,
        params,
        "DescribeEgressOnlyInternetGateways",
        egress_only_gateways.FILTERS,
        ids="EgressOnlyInternetGatewayIds",
        most=255,
    )
    found = egress_only_gateways.describe(call.tx, call.caller, asked)
    return selection.answered(
        "EgressOnlyInternetGateways", found, page, lambda one: (one.row.id,), egress_only_gateway_view
    )
