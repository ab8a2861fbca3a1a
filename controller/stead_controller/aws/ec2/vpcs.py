"""DescribeVpcs and DescribeVpcAttribute."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2 import selection
from stead_controller.resources import vpcs


@operation("DescribeVpcs", writes=False)
def describe_vpcs(call: Call, params: Params) -> Result:
    """List VPCs."""
    asked, page = selection.paged(call, params, "DescribeVpcs", vpcs.FILTERS, ids="VpcIds")
    return selection.answer("Vpcs", vpcs.describe(call.tx, call.caller, asked), page, "VpcId")


@operation("DescribeVpcAttribute", writes=False)
def describe_vpc_attribute(call: Call, params: Params) -> Result:
    """Show one attribute of a VPC."""
    return vpcs.describe_attribute(call.tx, call.caller, params["VpcId"], params["Attribute"])
