"""ClassicLink, which EC2 has retired: no VPC is linked."""

from typing import Final

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import filters
from stead_controller.request.conditions import Selection
from stead_controller.resources.network import vpcs

_FILTERS: Final = frozenset({"is-classic-link-enabled"})


@operation("DescribeVpcClassicLink", writes=False)
def describe_vpc_classic_link(call: Call, params: Params) -> Result:
    """List no VPC as linked."""
    filters(params, _FILTERS)
    _require(call, params)
    return {"Vpcs": []}


@operation("DescribeVpcClassicLinkDnsSupport", writes=False)
def describe_vpc_classic_link_dns_support(call: Call, params: Params) -> Result:
    """List no VPC as linked."""
    _require(call, params)
    return {"Vpcs": []}


def _require(call: Call, params: Params) -> None:
    """Raise MalformedId or NotFound for VPCs that are not the caller's."""
    if params.get("VpcIds"):
        vpcs.describe(call.tx, call.caller, Selection(tuple(params["VpcIds"])))
