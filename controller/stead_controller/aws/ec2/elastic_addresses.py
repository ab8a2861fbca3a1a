"""DescribeAddresses."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import filters
from stead_controller.resources import elastic_addresses


@operation("DescribeAddresses", writes=False)
def describe_addresses(call: Call, params: Params) -> Result:
    """List Elastic IP addresses, of which there are none yet."""
    del call
    filters(params, elastic_addresses.FILTERS)
    elastic_addresses.require(params.get("AllocationIds", ()), params.get("PublicIps", ()))
    return {"Addresses": []}
