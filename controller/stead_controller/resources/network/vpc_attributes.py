"""Attributes of a VPC that can be changed after it was made."""

from typing import Final

from sqlalchemy import update

from stead_controller.db.tables import Subnet, Vpc
from stead_controller.errors import InvalidParameter, WrongState
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.network import interface_changes, notify_topology, vpcs

_ATTRIBUTES: Final = {
    "enableDnsSupport": "dns_support",
    "enableDnsHostnames": "dns_hostnames",
    "enableNetworkAddressUsageMetrics": "address_usage_metrics",
}


def find(tx: Transaction, caller: Caller, vpc_id: str, attribute: str) -> bool:
    """Return one attribute of a VPC by EC2's name of it; raises MalformedId, NotFound, InvalidParameter."""
    vpc = vpcs.find(tx, caller, vpc_id)
    if attribute not in _ATTRIBUTES:
        raise InvalidParameter(f"Value ( {attribute} ) for parameter attribute is invalid. Unknown attribute.")
    value: bool = getattr(vpc, _ATTRIBUTES[attribute])
    return value


def modify(tx: Transaction, caller: Caller, vpc_id: str, attribute: str, *, value: bool) -> None:
    """Set one attribute of a VPC; raises MalformedId, NotFound, InvalidParameter for host names without DNS."""
    vpc = vpcs.find(tx, caller, vpc_id)
    if attribute == "enableDnsHostnames" and value and not vpc.dns_support:
        raise InvalidParameter("Cannot enable DNS hostnames support when DNS support is disabled for the VPC.")
    had_names = vpc.dns_support and vpc.dns_hostnames
    setattr(vpc, _ATTRIBUTES[attribute], value)
    notify_topology.vpc(tx, vpc.id)
    if had_names != (vpc.dns_support and vpc.dns_hostnames):
        interface_changes.renamed(tx, vpc.id)


def modify_tenancy(tx: Transaction, caller: Caller, vpc_id: str, tenancy: str) -> None:
    """Give up a VPC's dedicated tenancy; its instances stay as they are.

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
    tx.session.execute(update(Subnet).where(Subnet.vpc_id == vpc.id).values(instance_tenancy="default"))
