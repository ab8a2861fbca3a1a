"""CreateDhcpOptions, DeleteDhcpOptions, DescribeDhcpOptions and AssociateDhcpOptions."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import tags_on_create
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.network.dhcp_options_view import dhcp_options_view
from stead_controller.resources.network import dhcp_options


@operation("CreateDhcpOptions")
def create(call: Call, params: Params) -> Result:
    """Create a set of DHCP options."""
    tags = tags_on_create(params, "dhcp-options")["dhcp-options"]
    given = [(one.get("Key", ""), one.get("Values", ())) for one in params["DhcpConfigurations"]]
    made = dhcp_options.create(call.tx, call.caller, given, tags, call.now)
    return {"DhcpOptions": dhcp_options_view(dhcp_options.described(call.tx, call.caller, [made])[0])}


@operation("DeleteDhcpOptions")
def delete(call: Call, params: Params) -> Result:
    """Delete a set of DHCP options that no VPC uses."""
    dhcp_options.remove(call.tx, call.caller, params["DhcpOptionsId"])
    return {}


@operation("DescribeDhcpOptions", writes=False)
def describe(call: Call, params: Params) -> Result:
    """List sets of DHCP options."""
    asked, page = selection.paged(call, params, "DescribeDhcpOptions", dhcp_options.FILTERS, ids="DhcpOptionsIds")
    found = dhcp_options.describe(call.tx, call.caller, asked)
    return selection.answered("DhcpOptions", found, page, lambda one: (one.row.id,), dhcp_options_view)


@operation("AssociateDhcpOptions")
def associate(call: Call, params: Params) -> Result:
    """Associate a set of DHCP options with a VPC, or none."""
    dhcp_options.associate(call.tx, call.caller, params["DhcpOptionsId"], params["VpcId"])
    return {}
