"""Attributes of a subnet that can be changed after it was made."""

from typing import Any, Final

from stead_controller.db.tables import Subnet
from stead_controller.errors import InvalidParameter, Unsupported
from stead_controller.request.caller import Caller
from stead_controller.request.transaction import Transaction
from stead_controller.resources.network import notify_topology, subnets

# The attributes that are on or off: their columns, and EC2's names of them in messages.
_FLAGS: Final = {
    "assign_ipv6_address": "assignIpv6AddressOnCreation",
    "dns64": "enableDns64",
    "resource_name_aaaa_record": "enableResourceNameDnsAAAARecordOnLaunch",
    "resource_name_a_record": "enableResourceNameDnsARecordOnLaunch",
    "map_public_address": "mapPublicIpOnLaunch",
}

HOSTNAME_TYPES: Final = ("ip-name", "resource-name")
_NEEDS_IPV6: Final = {"assign_ipv6_address", "dns64", "resource_name_aaaa_record"}


# Fixed attributes of an IPv6-only subnet: its interfaces have an IPv6 address and no IPv4.
_OF_IPV6_ONLY: Final = {
    "assign_ipv6_address": True,
    "resource_name_a_record": False,
    "map_public_address": False,
}


def modify_flag(tx: Transaction, caller: Caller, subnet_id: str, flag: str, *, value: bool) -> None:
    """Switch one attribute of a subnet, named by its column.

    Raises MalformedId, NotFound, InvalidParameter where it needs IPv6 or IPv4, Unsupported for DNS64.
    """
    subnet: Any = subnets.find(tx, caller, subnet_id)
    if subnet.cidr_block is None and value is not _OF_IPV6_ONLY.get(flag, value):
        raise InvalidParameter(
            f"Invalid value '{str(value).lower()}' for {_FLAGS[flag]}. Subnet {subnet.id} is an IPv6 only subnet."
        )
    if value and flag in _NEEDS_IPV6 and subnet.ipv6_cidr_block is None:
        raise InvalidParameter(
            f"Invalid value 'true' for {_FLAGS[flag]}. Subnet {subnet.id} does not have an IPv6 CIDR block "
            "associated with it."
        )
    if value and flag == "dns64":
        raise Unsupported("The resolver makes no IPv6 addresses of IPv4 ones (EnableDns64).")
    setattr(subnet, flag, value)
    notify_topology.subnet(tx, subnet.id, subnet.vpc_id)


def modify_hostname_type(tx: Transaction, caller: Caller, subnet_id: str, hostname_type: str) -> None:
    """Choose how instances launched into a subnet are named; raises MalformedId, NotFound, InvalidParameter."""
    subnet = subnets.find(tx, caller, subnet_id)
    if hostname_type not in HOSTNAME_TYPES:
        raise InvalidParameter(
            f"Value ({hostname_type}) for parameter privateDnsHostnameTypeOnLaunch is invalid. "
            f"It must be one of {', '.join(HOSTNAME_TYPES)}."
        )
    check_hostname_type(subnet, hostname_type, "privateDnsHostnameTypeOnLaunch")
    subnet.hostname_type = hostname_type
    notify_topology.subnet(tx, subnet.id, subnet.vpc_id)


def check_hostname_type(subnet: Subnet, hostname_type: str | None, parameter: str) -> None:
    """Raise InvalidParameter for names by IPv4 address in a subnet of IPv6 only; `parameter` is what they came by."""
    if subnet.cidr_block is None and hostname_type == "ip-name":
        raise InvalidParameter(
            f"Value (ip-name) for parameter {parameter} is invalid. Subnet {subnet.id} is an IPv6 only subnet, where "
            "the DNS name of an instance must be based on its ID."
        )
