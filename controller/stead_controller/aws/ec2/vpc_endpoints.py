"""VPC endpoints and ClassicLink, which this cloud has not: none are listed, so that sweeps work; making is refused."""

from typing import Final, NoReturn

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import filters
from stead_controller.aws.ec2 import selection
from stead_controller.errors import NotFound, Unsupported
from stead_controller.resources import vpcs
from stead_controller.resources.conditions import Selection

ENDPOINT_FILTERS: Final = frozenset(
    {
        "ip-address-type",
        "service-name",
        "service-region",
        "vpc-endpoint-id",
        "vpc-endpoint-state",
        "vpc-endpoint-type",
        "vpc-id",
    }
)
_SERVICE_FILTERS: Final = frozenset(
    {"owner", "service-name", "service-region", "service-type", "supported-ip-address-types"}
)
_LINK_FILTERS: Final = frozenset({"is-classic-link-enabled"})


@operation("DescribeVpcEndpoints", writes=False)
def describe_vpc_endpoints(call: Call, params: Params) -> Result:
    """List no endpoints; an id of one is answered as absent."""
    selection.paged(call, params, "DescribeVpcEndpoints", ENDPOINT_FILTERS, ids="VpcEndpointIds")
    if params.get("VpcEndpointIds"):
        raise NotFound("vpc-endpoint", params["VpcEndpointIds"])
    return {"VpcEndpoints": []}


@operation("DescribeVpcEndpointServices", writes=False)
def describe_vpc_endpoint_services(call: Call, params: Params) -> Result:
    """List no services."""
    del call
    filters(params, _SERVICE_FILTERS)
    if params.get("ServiceNames"):
        raise NotFound("vpc-endpoint-service", params["ServiceNames"], code="InvalidServiceName")
    return {"ServiceNames": [], "ServiceDetails": []}


@operation("CreateVpcEndpoint")
def create_vpc_endpoint(call: Call, params: Params) -> NoReturn:
    """Refuse to make an endpoint."""
    del call, params
    raise Unsupported("VPC endpoints are not supported by this cloud.")


@operation("DeleteVpcEndpoints")
def delete_vpc_endpoints(call: Call, params: Params) -> Result:
    """Say of each endpoint that it does not exist: the answer is a list of what was not deleted, as EC2's."""
    del call
    missing = (NotFound("vpc-endpoint", endpoint) for endpoint in params["VpcEndpointIds"])
    return {
        "Unsuccessful": [
            {"ResourceId": one.missing[0], "Error": {"Code": "InvalidVpcEndpointId.NotFound", "Message": one.message}}
            for one in missing
        ]
    }


@operation("DescribeVpcClassicLink", writes=False)
def describe_vpc_classic_link(call: Call, params: Params) -> Result:
    """List no VPC as linked: ClassicLink has been retired."""
    filters(params, _LINK_FILTERS)
    _require(call, params)
    return {"Vpcs": []}


@operation("DescribeVpcClassicLinkDnsSupport", writes=False)
def describe_vpc_classic_link_dns_support(call: Call, params: Params) -> Result:
    """List no VPC as linked: ClassicLink has been retired."""
    _require(call, params)
    return {"Vpcs": []}


def _require(call: Call, params: Params) -> None:
    """Raise MalformedId or NotFound for VPCs that are not the caller's."""
    if params.get("VpcIds"):
        vpcs.describe(call.tx, call.caller, call.cloud, Selection(tuple(params["VpcIds"])))
