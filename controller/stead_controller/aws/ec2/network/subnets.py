"""CreateSubnet, CreateDefaultSubnet, DeleteSubnet, DescribeSubnets, and the attributes of a subnet."""

from typing import Final

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import tags_on_create
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.network.addressing import refuse_other_sources
from stead_controller.aws.ec2.network.subnet_view import association_view, subnet_view
from stead_controller.errors import InvalidCombination, MissingParameter, Unsupported
from stead_controller.resources.network import (
    create_subnet,
    delete_subnet,
    subnet_attributes,
    subnet_cidr_blocks,
    subnets,
)
from stead_controller.resources.network.create_subnet import SubnetRequest

# The boolean attributes and their columns.
_FLAGS: Final = {
    "AssignIpv6AddressOnCreation": "assign_ipv6_address",
    "EnableDns64": "dns64",
    "EnableResourceNameDnsAAAARecordOnLaunch": "resource_name_aaaa_record",
    "EnableResourceNameDnsARecordOnLaunch": "resource_name_a_record",
    "MapPublicIpOnLaunch": "map_public_address",
}
_HOSTNAME_TYPE: Final = "PrivateDnsHostnameTypeOnLaunch"
_OUTPOST_ATTRIBUTES: Final = (
    "MapCustomerOwnedIpOnLaunch",
    "CustomerOwnedIpv4Pool",
    "EnableLniAtDeviceIndex",
    "DisableLniAtDeviceIndex",
)


@operation("CreateSubnet")
def create(call: Call, params: Params) -> Result:
    """Create a subnet."""
    refuse_other_sources(params)
    request = SubnetRequest(
        vpc_id=params["VpcId"],
        cidr_block=params.get("CidrBlock"),
        ipv6_cidr_block=params.get("Ipv6CidrBlock"),
        ipv6_native=params.get("Ipv6Native", False),
        zone=params.get("AvailabilityZone"),
        zone_id=params.get("AvailabilityZoneId"),
        tags=tags_on_create(params, "subnet")["subnet"],
    )
    made = create_subnet.create(call.tx, call.caller, call.cloud, request, call.now)
    return {"Subnet": subnet_view(subnets.described(call.tx, call.caller, call.cloud, [made])[0])}


@operation("CreateDefaultSubnet")
def create_default(call: Call, params: Params) -> Result:
    """Create the default subnet of a zone again."""
    refuse_other_sources(params)
    if params.get("Ipv6Native"):
        raise Unsupported("Default subnets without IPv4 addresses are not supported by this cloud (Ipv6Native).")
    zone = create_subnet.find_zone(call.cloud, params.get("AvailabilityZone"), params.get("AvailabilityZoneId"))
    if zone is None:
        raise MissingParameter("availabilityZone")
    made = create_subnet.create_default(call.tx, call.caller, zone, call.now)
    return {"Subnet": subnet_view(subnets.described(call.tx, call.caller, call.cloud, [made])[0])}


@operation("DeleteSubnet")
def delete(call: Call, params: Params) -> Result:
    """Delete a subnet without interfaces."""
    delete_subnet.remove(call.tx, call.caller, params["SubnetId"])
    return {}


@operation("DescribeSubnets", writes=False)
def describe_subnets(call: Call, params: Params) -> Result:
    """List subnets."""
    known = subnets.conditions(call.caller, call.cloud)
    asked, page = selection.paged(call, params, "DescribeSubnets", known, ids="SubnetIds")
    found = subnets.describe(call.tx, call.caller, call.cloud, asked)
    return selection.answered("Subnets", found, page, lambda one: (one.subnet.id,), subnet_view)


@operation("ModifySubnetAttribute")
def modify_subnet_attribute(call: Call, params: Params) -> Result:
    """Change one attribute of a subnet."""
    for name in _OUTPOST_ATTRIBUTES:
        if name in params:
            raise Unsupported(f"There are no Outposts in this cloud ({name}).")
    given = [name for name in (*_FLAGS, _HOSTNAME_TYPE) if name in params]
    if len(given) != 1:
        raise InvalidCombination(
            "Fields for multiple attribute types specified" if given else "No attributes specified."
        )
    [member] = given
    subnet_id = params["SubnetId"]
    if member == _HOSTNAME_TYPE:
        subnet_attributes.modify_hostname_type(call.tx, call.caller, subnet_id, params[member])
        return {}
    if "Value" not in params[member]:
        raise MissingParameter("Value")
    subnet_attributes.modify_flag(call.tx, call.caller, subnet_id, _FLAGS[member], value=params[member]["Value"])
    return {}


@operation("AssociateSubnetCidrBlock")
def associate_cidr_block(call: Call, params: Params) -> Result:
    """Associate an IPv6 block with a subnet."""
    refuse_other_sources(params)
    if "Ipv6CidrBlock" not in params:
        raise MissingParameter("ipv6CidrBlock")
    return association_view(
        subnet_cidr_blocks.associate(call.tx, call.caller, params["SubnetId"], params["Ipv6CidrBlock"])
    )


@operation("DisassociateSubnetCidrBlock")
def disassociate_cidr_block(call: Call, params: Params) -> Result:
    """Disassociate the IPv6 block from a subnet."""
    return association_view(subnet_cidr_blocks.disassociate(call.tx, call.caller, params["AssociationId"], call.now))
