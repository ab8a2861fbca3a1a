"""DescribeNetworkInterfaces."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2 import selection
from stead_controller.resources import network_interfaces


@operation("DescribeNetworkInterfaces", writes=False)
def describe_network_interfaces(call: Call, params: Params) -> Result:
    """List network interfaces."""
    known = network_interfaces.conditions(call.cloud)
    asked, page = selection.paged(call, params, "DescribeNetworkInterfaces", known, ids="NetworkInterfaceIds")
    found = network_interfaces.describe(call.tx, call.caller, call.cloud, asked)
    return selection.answer("NetworkInterfaces", found, page, "NetworkInterfaceId")
