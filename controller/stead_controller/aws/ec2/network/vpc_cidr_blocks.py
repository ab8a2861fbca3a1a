"""AssociateVpcCidrBlock and DisassociateVpcCidrBlock."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.ec2.network.addressing import check_border_group, refuse_other_sources
from stead_controller.aws.ec2.network.vpc_view import association_view
from stead_controller.errors import Unsupported
from stead_controller.resources.network import vpc_cidr_blocks


@operation("AssociateVpcCidrBlock")
def associate(call: Call, params: Params) -> Result:
    """Associate another IPv4 block with a VPC, or an IPv6 block from the cloud's own pool."""
    refuse_other_sources(params)
    check_border_group(call, params, "Ipv6CidrBlockNetworkBorderGroup")
    if "Ipv6CidrBlock" in params:
        raise Unsupported("IPv6 blocks of one's own are not supported by this cloud (Ipv6CidrBlock).")
    ipv6 = params.get("AmazonProvidedIpv6CidrBlock", False)
    vpc_cidr_blocks.check_choice(ipv6 + ("CidrBlock" in params))
    if ipv6:
        made = vpc_cidr_blocks.associate_ipv6(call.tx, call.caller, call.cloud, params["VpcId"], call.now)
    else:
        made = vpc_cidr_blocks.associate(call.tx, call.caller, params["VpcId"], params["CidrBlock"], call.now)
    return association_view(made, call.cloud.region)


@operation("DisassociateVpcCidrBlock")
def disassociate(call: Call, params: Params) -> Result:
    """Disassociate a block from a VPC."""
    taken = vpc_cidr_blocks.disassociate(call.tx, call.caller, params["AssociationId"], call.now)
    return association_view(taken, call.cloud.region)
