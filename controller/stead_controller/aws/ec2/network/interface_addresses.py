"""AssignPrivateIpAddresses, UnassignPrivateIpAddresses, AssignIpv6Addresses and UnassignIpv6Addresses."""

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.errors import Unsupported
from stead_controller.resources.network import interface_addresses


def _refuse_prefixes(params: Params) -> None:
    if params.keys() & {"Ipv4Prefixes", "Ipv4PrefixCount", "Ipv6Prefixes", "Ipv6PrefixCount"}:
        raise Unsupported("Prefixes of addresses are not supported.")


@operation("AssignPrivateIpAddresses")
def assign_private_ip_addresses(call: Call, params: Params) -> Result:
    """Assign secondary private addresses to a network interface."""
    _refuse_prefixes(params)
    assigned = interface_addresses.assign_private(
        call.tx,
        call.caller,
        params["NetworkInterfaceId"],
        params.get("PrivateIpAddresses", ()),
        params.get("SecondaryPrivateIpAddressCount"),
        allow_reassignment=params.get("AllowReassignment", False),
    )
    return {
        "NetworkInterfaceId": params["NetworkInterfaceId"],
        "AssignedPrivateIpAddresses": [{"PrivateIpAddress": address} for address in assigned],
    }


@operation("UnassignPrivateIpAddresses")
def unassign_private_ip_addresses(call: Call, params: Params) -> Result:
    """Unassign secondary private addresses of a network interface."""
    _refuse_prefixes(params)
    interface_addresses.unassign_private(
        call.tx, call.caller, params["NetworkInterfaceId"], params.get("PrivateIpAddresses", ()), call.now
    )
    return {}


@operation("AssignIpv6Addresses")
def assign_ipv6_addresses(call: Call, params: Params) -> Result:
    """Assign IPv6 addresses to a network interface."""
    _refuse_prefixes(params)
    assigned = interface_addresses.assign_ipv6(
        call.tx,
        call.caller,
        params["NetworkInterfaceId"],
        params.get("Ipv6Addresses", ()),
        params.get("Ipv6AddressCount"),
    )
    return {"NetworkInterfaceId": params["NetworkInterfaceId"], "AssignedIpv6Addresses": assigned}


@operation("UnassignIpv6Addresses")
def unassign_ipv6_addresses(call: Call, params: Params) -> Result:
    """Unassign IPv6 addresses of a network interface."""
    _refuse_prefixes(params)
    addresses = params.get("Ipv6Addresses", ())
    interface_addresses.unassign_ipv6(call.tx, call.caller, params["NetworkInterfaceId"], addresses)
    return {"NetworkInterfaceId": params["NetworkInterfaceId"], "UnassignedIpv6Addresses": list(addresses)}
