"""DescribeSubnets."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2 import selection
from stead_controller.resources import subnets


@operation("DescribeSubnets", writes=False)
def describe_subnets(call: Call, params: Params) -> Result:
    """List subnets."""
    known = subnets.conditions(call.caller, call.cloud)
    asked, page = selection.paged(call, params, "DescribeSubnets", known, ids="SubnetIds")
    return selection.answer("Subnets", subnets.describe(call.tx, call.caller, call.cloud, asked), page, "SubnetId")
