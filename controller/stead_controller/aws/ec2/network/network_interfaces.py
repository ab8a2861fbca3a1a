"""Network interfaces: create, delete, attach, detach, describe."""

from collections.abc import Mapping
from typing import Any

from stead_controller.aws.call import Call, Params, Result, operation
from stead_controller.aws.describe import request_digest, tags_on_create
from stead_controller.aws.ec2 import selection
from stead_controller.aws.ec2.network.network_interface_view import network_interface_view
from stead_controller.errors import InvalidCombination, InvalidParameter, MissingParameter, Unsupported
from stead_controller.resources.network import network_interface_attachments as attachments
from stead_controller.resources.network import network_interface_filters, network_interface_life, network_interfaces
from stead_controller.resources.network.connection_tracking import IdleTimeouts
from stead_controller.resources.network.network_interface_life import AddressRequest, CreateRequest

_PREFIXES = ("Ipv4Prefixes", "Ipv4PrefixCount", "Ipv6Prefixes", "Ipv6PrefixCount")


@operation("CreateNetworkInterface")
def create_network_interface(call: Call, params: Params) -> Result:
    """Create a network interface."""
    if params.get("InterfaceType", "interface") != "interface":
        raise Unsupported(f"Network interfaces of the type '{params['InterfaceType']}' are not supported.")
    request = CreateRequest(
        subnet_id=params["SubnetId"],
        addresses=address_request(params),
        group_ids=tuple(params.get("Groups", ())),
        description=params.get("Description", ""),
        idle_timeouts=idle_timeouts(params.get("ConnectionTrackingSpecification", {})),
        client_token=params.get("ClientToken", ""),
        digest=request_digest(params),
        tags=tags_on_create(params, "network-interface"),
    )
    made = network_interface_life.create(call.tx, call.caller, request, call.now)
    found = network_interfaces.describe_one(call.tx, call.caller, call.cloud, made)
    return {"NetworkInterface": network_interface_view(found), "ClientToken": request.client_token or None}


@operation("DeleteNetworkInterface")
def delete_network_interface(call: Call, params: Params) -> Result:
    """Delete a network interface that is not attached."""
    network_interface_life.delete(call.tx, call.caller, params["NetworkInterfaceId"], call.now)
    return {}


@operation("AttachNetworkInterface")
def attach_network_interface(call: Call, params: Params) -> Result:
    """Attach a network interface to an instance."""
    if params.get("NetworkCardIndex", 0) != 0:
        raise InvalidParameter(f"Value ({params['NetworkCardIndex']}) for parameter networkCardIndex is invalid.")
    if "EnaQueueCount" in params:
        raise Unsupported("Queues of an interface cannot be chosen (EnaQueueCount).")
    attachment_id = attachments.attach(
        call.tx, call.caller, params["NetworkInterfaceId"], params["InstanceId"], params["DeviceIndex"], call.now
    )
    return {"AttachmentId": attachment_id, "NetworkCardIndex": 0}


@operation("DetachNetworkInterface")
def detach_network_interface(call: Call, params: Params) -> Result:
    """Detach a network interface from its instance."""
    attachments.detach(call.tx, call.caller, params["AttachmentId"], force=params.get("Force", False))
    return {}


@operation("DescribeNetworkInterfaces", writes=False)
def describe_network_interfaces(call: Call, params: Params) -> Result:
    """List network interfaces."""
    known = network_interface_filters.conditions(call.cloud)
    asked, page = selection.paged(call, params, "DescribeNetworkInterfaces", known, ids="NetworkInterfaceIds")
    found = network_interfaces.describe(call.tx, call.caller, call.cloud, asked)
    return selection.answered("NetworkInterfaces", found, page, lambda one: (one.interface.id,), network_interface_view)


def address_request(params: Mapping[str, Any]) -> AddressRequest:
    """Read the addresses that a request asks for.

    Raises Unsupported for prefixes, MissingParameter, InvalidCombination for two primary addresses.
    """
    if any(name in params for name in _PREFIXES):
        raise Unsupported("Prefixes of addresses are not supported.")
    primary, secondary = _private(params.get("PrivateIpAddresses", ()))
    if primary is not None and params.get("PrivateIpAddress", primary) != primary:
        raise InvalidCombination("Only one private address may be the primary one")
    return AddressRequest(
        primary=params.get("PrivateIpAddress", primary),
        secondary=secondary,
        secondary_count=params.get("SecondaryPrivateIpAddressCount", 0),
        ipv6=tuple(item.get("Ipv6Address", "") for item in params.get("Ipv6Addresses", ())),
        ipv6_count=params.get("Ipv6AddressCount"),
        primary_ipv6=params.get("EnablePrimaryIpv6", False) or params.get("PrimaryIpv6", False),
    )


def idle_timeouts(given: Mapping[str, Any]) -> IdleTimeouts:
    """Read a ConnectionTrackingSpecification."""
    return IdleTimeouts(
        tcp_established_timeout=given.get("TcpEstablishedTimeout"),
        udp_timeout=given.get("UdpTimeout"),
        udp_stream_timeout=given.get("UdpStreamTimeout"),
    )


def _private(items: Any) -> tuple[str | None, tuple[str, ...]]:
    """Divide the listed private addresses into the primary one, if any, and the secondary ones."""
    primary: list[str] = []
    secondary: list[str] = []
    for item in items:
        if "PrivateIpAddress" not in item:
            raise MissingParameter("PrivateIpAddress")
        (primary if item.get("Primary") else secondary).append(item["PrivateIpAddress"])
    if len(primary) > 1:
        raise InvalidCombination("Only one private address may be the primary one")
    return (primary[0] if primary else None), tuple(secondary)
