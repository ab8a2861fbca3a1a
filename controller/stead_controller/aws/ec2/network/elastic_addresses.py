"""Elastic IP addresses: allocate, associate, disassociate, release, describe."""

from stead_controller.aws import describe
from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.network.addressing import check_border_group
from stead_controller.aws.ec2.network.elastic_address_view import (
    allocation_view,
    attribute_view,
    elastic_address_view,
)
from stead_controller.errors import InvalidCombination, InvalidParameter, Unsupported
from stead_controller.request.conditions import Selection
from stead_controller.resources.network import elastic_address_associations as associations
from stead_controller.resources.network import elastic_addresses


@operation("AllocateAddress")
def allocate_address(call: Call, params: Params) -> Result:
    """Allocate a public address to the account."""
    for name in ("CustomerOwnedIpv4Pool", "IpamPoolId"):
        if name in params:
            raise Unsupported(f"{name} is not supported.")
    if params.get("Domain", "vpc") not in ("vpc", "standard"):
        raise InvalidParameter(f"Invalid value '{params['Domain']}' for domain. Must be 'vpc'")
    check_border_group(call, params, "NetworkBorderGroup")
    if params.get("PublicIpv4Pool", "amazon") != "amazon":
        raise InvalidParameter(
            f"The pool '{params['PublicIpv4Pool']}' does not exist", code="InvalidPublicIpv4PoolID.NotFound"
        )
    tags = describe.tags_on_create(params, "elastic-ip")
    made = elastic_addresses.allocate(call.tx, call.caller, call.cloud, params.get("Address"), tags, call.now)
    return allocation_view(call.cloud, made)


@operation("ReleaseAddress")
def release_address(call: Call, params: Params) -> Result:
    """Release an address."""
    check_border_group(call, params, "NetworkBorderGroup")
    associations.release(call.tx, call.caller, params.get("AllocationId"), params.get("PublicIp"), call.now)
    return {}


@operation("AssociateAddress")
def associate_address(call: Call, params: Params) -> Result:
    """Associate an address with an instance or a network interface."""
    elastic = elastic_addresses.find(call.tx, call.caller, params.get("AllocationId"), params.get("PublicIp"))
    if "AllocationId" not in params:
        raise InvalidCombination("You must specify an allocation id when mapping an address to a VPC instance")
    target = associations.Target(
        params.get("InstanceId"), params.get("NetworkInterfaceId"), params.get("PrivateIpAddress")
    )
    allow = params.get("AllowReassociation", True)
    made = associations.associate(call.tx, call.caller, elastic, target, call.now, allow_reassociation=allow)
    return {"AssociationId": made}


@operation("DisassociateAddress")
def disassociate_address(call: Call, params: Params) -> Result:
    """Disassociate an address."""
    associations.disassociate(call.tx, call.caller, params.get("AssociationId"), params.get("PublicIp"), call.now)
    return {}


@operation("DescribeAddresses", writes=False)
def describe_addresses(call: Call, params: Params) -> Result:
    """List Elastic IP addresses."""
    known = elastic_addresses.conditions(call.cloud)
    asked = selection.everything(params, known, ids="AllocationIds")
    public_addresses = params.get("PublicIps", ())
    found = elastic_addresses.describe(call.tx, call.caller, call.cloud, asked, public_addresses)
    return {"Addresses": [elastic_address_view(call.cloud, one) for one in found]}


@operation("DescribeAddressesAttribute", writes=False)
def describe_addresses_attribute(call: Call, params: Params) -> Result:
    """List the reverse DNS names of Elastic IP addresses."""
    page = describe.page(call, params, "DescribeAddressesAttribute", ids="AllocationIds", at_least=1)
    asked = Selection(tuple(params.get("AllocationIds", ())), (), page.after, page.fetch)
    found = elastic_addresses.describe_attribute(call.tx, call.caller, asked)
    return selection.answered("Addresses", found, page, lambda one: (one.id,), attribute_view)
