"""DescribeNetworkInterfaceAttribute."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.resources import network_interface_attributes


@operation("DescribeNetworkInterfaceAttribute", writes=False)
def describe_network_interface_attribute(call: Call, params: Params) -> Result:
    """Show one attribute of a network interface."""
    interface_id, attribute = params["NetworkInterfaceId"], params.get("Attribute", "")
    return network_interface_attributes.describe(call.tx, call.caller, interface_id, attribute)
