"""Network interfaces, and their attributes, as EC2 shows them."""

from collections.abc import Iterable

from stead_controller.aws.call import Result
from stead_controller.aws.ec2.network.connection_tracking_view import connection_tracking_view
from stead_controller.aws.ec2.tags_view import tags_view
from stead_controller.resources.network.network_interface_attributes import DescribedAttribute
from stead_controller.resources.network.network_interface_filters import CLOUD_ACCOUNT
from stead_controller.resources.network.network_interfaces import (
    DescribedNetworkInterface,
    GroupIdentifier,
    PrivateAddress,
)


def network_interface_view(found: DescribedNetworkInterface) -> Result:
    """Show a network interface."""
    interface = found.interface
    addresses = [_address_view(one) for one in found.addresses]
    first: Result = addresses[0] if addresses else {}
    return {
        "NetworkInterfaceId": interface.id,
        "OwnerId": interface.account_id,
        "InterfaceType": interface.interface_type,
        "Status": interface.status,
        "Description": interface.description,
        "AvailabilityZone": interface.zone,
        "AvailabilityZoneId": found.zone_id,
        "SubnetId": interface.subnet_id,
        "VpcId": interface.vpc_id,
        "MacAddress": interface.mac_address,
        "PrivateIpAddress": interface.private_address,
        "PrivateDnsName": first.get("PrivateDnsName"),
        "PrivateIpAddresses": addresses,
        "Association": first.get("Association"),
        "PublicDnsName": (found.addresses[0].public_name or None) if found.addresses else None,
        "Ipv6Address": found.ipv6_addresses[0] if found.ipv6_addresses else None,
        "Ipv6Addresses": ipv6_addresses_view(found.ipv6_addresses, has_primary=interface.primary_ipv6),
        "Groups": groups_view(found.groups),
        "Attachment": attachment_view(found),
        "RequesterId": CLOUD_ACCOUNT if interface.requester_managed else interface.requester_id or interface.account_id,
        "RequesterManaged": interface.requester_managed,
        "SourceDestCheck": interface.source_dest_check,
        "DenyAllIgwTraffic": False,
        "Ipv6Native": interface.private_address is None,
        "Operator": {"Managed": False},
        "ConnectionTrackingConfiguration": connection_tracking_view(interface),
        "TagSet": tags_view(found.tags),
    }


def attribute_view(found: DescribedAttribute) -> Result:
    """Show one attribute of a network interface."""
    interface = found.interface
    shown: Result = {"NetworkInterfaceId": interface.id}
    match found.name:
        case "description":
            shown["Description"] = {"Value": interface.description}
        case "groupSet":
            shown["Groups"] = groups_view(found.groups)
        case "sourceDestCheck":
            shown["SourceDestCheck"] = {"Value": interface.source_dest_check}
        case "attachment":
            shown["Attachment"] = attachment_view(found)
        case "associatePublicIpAddress":
            shown["AssociatePublicIpAddress"] = found.has_public_address
    return shown


def groups_view(groups: Iterable[GroupIdentifier]) -> list[Result]:
    """Show the security groups of an interface."""
    return [{"GroupId": group_id, "GroupName": name} for group_id, name in groups]


def ipv6_addresses_view(addresses: Iterable[str], *, has_primary: bool) -> list[Result]:
    """Show the IPv6 addresses of an interface, of which the first is the primary one if it has any."""
    return [
        {"Ipv6Address": address, "IsPrimaryIpv6": has_primary and number == 0}
        for number, address in enumerate(addresses)
    ]


def attachment_view(found: DescribedNetworkInterface | DescribedAttribute) -> Result | None:
    """Show what an interface is attached to, None if it is not attached."""
    interface = found.interface
    if interface.attachment_id is None:
        return None
    managed = interface.requester_managed
    return {
        "AttachmentId": interface.attachment_id,
        "AttachTime": interface.attach_time,
        "DeleteOnTermination": interface.delete_on_termination,
        "DeviceIndex": interface.device_index,
        "NetworkCardIndex": 0,
        "Status": interface.attachment_state,
        "InstanceId": None if managed else interface.instance_id,
        "InstanceOwnerId": CLOUD_ACCOUNT if managed else interface.account_id,
    }


def _address_view(one: PrivateAddress) -> Result:
    return {
        "PrivateIpAddress": one.address,
        "PrivateDnsName": one.name or None,
        "Primary": one.primary,
        "Association": _association_view(one),
    }


def _association_view(one: PrivateAddress) -> Result | None:
    public = one.public
    if public is None:
        return None
    elastic = public.allocation_id is not None
    return {
        "PublicIp": public.address,
        "PublicDnsName": one.public_name,
        "IpOwnerId": public.account_id if elastic else "amazon",
        "AllocationId": public.allocation_id,
        "AssociationId": public.association_id,
    }
