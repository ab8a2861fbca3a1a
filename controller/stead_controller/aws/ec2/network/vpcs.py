"""CreateVpc, CreateDefaultVpc, DeleteVpc, DescribeVpcs, and the attributes of a VPC."""

from functools import partial

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import tags_on_create
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.network.addressing import check_border_group, refuse_other_sources
from stead_controller.aws.ec2.network.vpc_view import ATTRIBUTES, attribute_view, vpc_view
from stead_controller.errors import InvalidCombination, MissingParameter
from stead_controller.resources.network import create_vpc, default_vpc, delete_vpc, vpc_attributes, vpcs
from stead_controller.resources.network.create_vpc import VpcRequest


@operation("CreateVpc")
def create(call: Call, params: Params) -> Result:
    """Create a VPC."""
    refuse_other_sources(params)
    check_border_group(call, params, "Ipv6CidrBlockNetworkBorderGroup")
    if "CidrBlock" not in params:
        raise MissingParameter("cidrBlock")
    request = VpcRequest(
        cidr_block=params["CidrBlock"],
        instance_tenancy=params.get("InstanceTenancy", "default"),
        ipv6=params.get("AmazonProvidedIpv6CidrBlock", False),
        tags=tags_on_create(params, "vpc")["vpc"],
    )
    made = create_vpc.create(call.tx, call.caller, call.cloud, request, call.now)
    return {"Vpc": vpc_view(vpcs.described(call.tx, call.caller, [made])[0], call.cloud.region)}


@operation("CreateDefaultVpc")
def create_default(call: Call, params: Params) -> Result:
    """Create the default VPC again."""
    del params
    made = default_vpc.create(call.tx, call.caller, call.cloud, call.now)
    return {"Vpc": vpc_view(vpcs.described(call.tx, call.caller, [made])[0], call.cloud.region)}


@operation("DeleteVpc")
def delete(call: Call, params: Params) -> Result:
    """Delete a VPC that nothing depends on."""
    delete_vpc.remove(call.tx, call.caller, params["VpcId"], call.now)
    return {}


@operation("DescribeVpcs", writes=False)
def describe_vpcs(call: Call, params: Params) -> Result:
    """List VPCs."""
    asked, page = selection.paged(call, params, "DescribeVpcs", vpcs.FILTERS, ids="VpcIds")
    found = vpcs.describe(call.tx, call.caller, asked)
    view = partial(vpc_view, region=call.cloud.region)
    return selection.answered("Vpcs", found, page, lambda one: (one.vpc.id,), view)


@operation("DescribeVpcAttribute", writes=False)
def describe_vpc_attribute(call: Call, params: Params) -> Result:
    """Show one attribute of a VPC."""
    vpc_id, attribute = params["VpcId"], params["Attribute"]
    return attribute_view(vpc_id, attribute, value=vpc_attributes.find(call.tx, call.caller, vpc_id, attribute))


@operation("ModifyVpcAttribute")
def modify_vpc_attribute(call: Call, params: Params) -> Result:
    """Change one attribute of a VPC."""
    given = [member for member in ATTRIBUTES if member in params]
    if len(given) != 1:
        raise InvalidCombination(
            "Fields for multiple attribute types specified" if given else "No attributes specified."
        )
    [member] = given
    if "Value" not in params[member]:
        raise MissingParameter("Value")
    vpc_attributes.modify(call.tx, call.caller, params["VpcId"], ATTRIBUTES[member], value=params[member]["Value"])
    return {}


@operation("ModifyVpcTenancy")
def modify_vpc_tenancy(call: Call, params: Params) -> Result:
    """Change the tenancy of a VPC to default."""
    vpc_attributes.modify_tenancy(call.tx, call.caller, params["VpcId"], params["InstanceTenancy"])
    return {"ReturnValue": True}
