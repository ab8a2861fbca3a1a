"""Attributes of a VPC that can be changed after it was made."""

from typing import Any, Final

from stead_controller.db.tables import Vpc
from stead_controller.errors import InvalidParameter, WrongState
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.network import interface_changes, notify_topology, vpcs

# The member of requests and answers, by the name that DescribeVpcAttribute takes, and the column.
_ATTRIBUTES: Final = {
    "enableDnsSupport": ("EnableDnsSupport", "dns_support"),
    "enableDnsHostnames": ("EnableDnsHostnames", "dns_hostnames"),
    "enableNetworkAddressUsageMetrics": ("EnableNetworkAddressUsageMetrics", "address_usage_metrics"),
}
MEMBERS: Final = dict(_ATTRIBUTES.values())
"""The attributes as ModifyVpcAttribute names them."""


def describe(tx: Transaction, caller: Caller, vpc_id: str, attribute: str) -> dict[str, Any]:
    """Show one attribute of a VPC in EC2's shape; raises MalformedId, NotFound, InvalidParameter."""
    vpc = vpcs.find(tx, caller, vpc_id)
    if attribute not in _ATTRIBUTES:
        raise InvalidParameter(f"Value ( {attribute} ) for parameter attribute is invalid. Unknown attribute.")
    member, column = _ATTRIBUTES[attribute]
    return {"VpcId": vpc.id, member: {"Value": getattr(vpc, column)}}


def modify(tx: Transaction, caller: Caller, vpc_id: str, member: str, *, value: bool) -> None:
    """Set one attribute of a VPC; raises MalformedId, NotFound, InvalidParameter for host names without DNS."""
    vpc = vpcs.find(tx, caller, vpc_id)
    if member == "EnableDnsHostnames" and value and not vpc.dns_support:
        raise InvalidParameter("Cannot enable DNS hostnames support when DNS support is disabled for the VPC.")
    had_names = vpc.dns_support and vpc.dns_hostnames
    setattr(vpc, MEMBERS[member], value)
    notify_topology.vpc(tx, vpc.id)
    if had_names != (vpc.dns_support and vpc.dns_hostnames):
        interface_changes.renamed(tx, vpc.id)


def modify_tenancy(tx: Transaction, caller: Caller, vpc_id: str, tenancy: str) -> None:
    """Give up a VPC's dedicated tenancy.

    Raises MalformedId, NotFound, InvalidParameter (UnsupportedTenancy), WrongState (InvalidTenancy).
    """
    vpc: Vpc = vpcs.find(tx, caller, vpc_id)
    if tenancy != "default":
        raise InvalidParameter(
            f"Value ({tenancy}) for parameter instanceTenancy is invalid. The tenancy of a VPC can be changed to "
            "default only.",
            code="UnsupportedTenancy",
        )
    if vpc.instance_tenancy == "default":
        raise WrongState("vpc", f"The tenancy of '{vpc.id}' is default already.", code="InvalidTenancy")
    vpc.instance_tenancy = "default"
