"""Network interfaces as EC2 shows and filters them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, select

from stead_controller.db.tables import (
    InterfaceAddress,
    InterfaceGroup,
    NetworkInterface,
    PublicAddress,
    SecurityGroup,
    Vpc,
)
from stead_controller.names import public_name, shown_private_name
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import Selection
from stead_controller.request.transaction import Transaction
from stead_controller.request.zones import zone_ids
from stead_controller.resources import tags
from stead_controller.resources.network import connection_tracking
from stead_controller.resources.network.network_interface_filters import CLOUD_ACCOUNT, VPC_GIVES_NAMES, conditions


def describe(tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection) -> list[dict[str, Any]]:
    """List the caller's network interfaces in EC2's shape, sorted by id; raises MalformedId, NotFound."""
    found = lookup.select_page(tx, caller, "network-interface", NetworkInterface, asked, conditions=conditions(cloud))
    ids = [interface.id for interface in found]
    groups = _groups(tx, ids)
    public = _public_addresses(tx, ids)
    private = _private_addresses(tx, ids)
    vpc_ids = {interface.vpc_id for interface in found}
    named, host_names = _with_names(tx, vpc_ids, VPC_GIVES_NAMES), _with_names(tx, vpc_ids, Vpc.dns_hostnames.is_(True))
    tagged = tags.of(tx, caller.account_id, ids)
    zones = zone_ids(cloud)
    return [
        _shown(interface)
        | _addresses(
            interface,
            private[interface.id],
            public,
            cloud,
            named=interface.vpc_id in named,
            host_names=interface.vpc_id in host_names,
        )
        | {
            "AvailabilityZoneId": zones.get(interface.zone),
            "Groups": groups[interface.id],
            "TagSet": tagged.get(interface.id, []),
        }
        for interface in found
    ]


def show(tx: Transaction, caller: Caller, cloud: Cloud, interface_id: str) -> dict[str, Any]:
    """Show one of the caller's interfaces."""
    (shown,) = describe(tx, caller, cloud, Selection((interface_id,)))
    return shown


def _shown(interface: NetworkInterface) -> dict[str, Any]:
    return {
        "NetworkInterfaceId": interface.id,
        "OwnerId": interface.account_id,
        "InterfaceType": interface.interface_type,
        "Status": interface.status,
        "Description": interface.description,
        "AvailabilityZone": interface.zone,
        "SubnetId": interface.subnet_id,
        "VpcId": interface.vpc_id,
        "MacAddress": interface.mac_address,
        "Attachment": attachment(interface),
        "RequesterId": CLOUD_ACCOUNT if interface.requester_managed else interface.requester_id or interface.account_id,
        "RequesterManaged": interface.requester_managed,
        "SourceDestCheck": interface.source_dest_check,
        "DenyAllIgwTraffic": False,
        "Ipv6Native": interface.private_address is None,
        "Operator": {"Managed": False},
        "ConnectionTrackingConfiguration": connection_tracking.shown(interface),
    }


def _addresses(
    interface: NetworkInterface,
    held: Sequence[tuple[str, bool]],
    public: Mapping[tuple[str, str], PublicAddress],
    cloud: Cloud,
    *,
    named: bool,
    host_names: bool,
) -> dict[str, Any]:
    """All that is shown of an interface's addresses; `held` are the addresses beside the primary, and if IPv6.

    `named` tells whether public addresses have names, `host_names` whether private ones have.
    """
    primary = [] if interface.private_address is None else [interface.private_address]
    ipv4 = [*primary, *(address for address, ipv6 in held if not ipv6)]
    listed = [
        {
            "PrivateIpAddress": address,
            "PrivateDnsName": shown_private_name(address, cloud.region, named=host_names) or None,
            "Primary": address == interface.private_address,
            "Association": _association(public.get((interface.id, address)), cloud, named=named),
        }
        for address in ipv4
    ]
    first: dict[str, Any] = listed[0] if listed else {}
    association = first.get("Association")
    ipv6 = [address for address, is_ipv6 in held if is_ipv6]
    return {
        "PrivateIpAddress": interface.private_address,
        "PrivateDnsName": first.get("PrivateDnsName"),
        "PrivateIpAddresses": listed,
        "Association": association,
        "PublicDnsName": association["PublicDnsName"] or None if isinstance(association, dict) else None,
        "Ipv6Address": ipv6[0] if ipv6 else None,
        "Ipv6Addresses": [{"Ipv6Address": address, "IsPrimaryIpv6": False} for address in ipv6],
    }


def _association(public: PublicAddress | None, cloud: Cloud, *, named: bool) -> dict[str, Any] | None:
    if public is None:
        return None
    shown = {
        "PublicIp": public.address,
        "PublicDnsName": public_name(public.address, cloud.region) if named else "",
        "IpOwnerId": "amazon",
    }
    if public.allocation_id is not None:
        shown["IpOwnerId"] = public.account_id
        shown["AllocationId"] = public.allocation_id
        if public.association_id is not None:
            shown["AssociationId"] = public.association_id
    return shown


def attachment(interface: NetworkInterface) -> dict[str, Any] | None:
    """Show what an interface is attached to, None when to nothing."""
    if interface.attachment_id is None:
        return None
    shown = {
        "AttachmentId": interface.attachment_id,
        "AttachTime": interface.attach_time,
        "DeleteOnTermination": interface.delete_on_termination,
        "DeviceIndex": interface.device_index,
        "NetworkCardIndex": 0,
        "Status": interface.attachment_state,
    }
    if interface.requester_managed:
        return shown | {"InstanceOwnerId": CLOUD_ACCOUNT}
    return shown | {"InstanceId": interface.instance_id, "InstanceOwnerId": interface.account_id}


def _groups(tx: Transaction, interface_ids: Sequence[str]) -> dict[str, list[dict[str, str]]]:
    found: dict[str, list[dict[str, str]]] = defaultdict(list)
    for batch in lookup.batches(interface_ids):
        query = (
            select(InterfaceGroup.interface_id, SecurityGroup.id, SecurityGroup.name)
            .join(SecurityGroup, SecurityGroup.id == InterfaceGroup.group_id)
            .where(InterfaceGroup.interface_id.in_(batch))
            .order_by(SecurityGroup.id)
        )
        for interface_id, group_id, name in tx.session.execute(query):
            found[interface_id].append({"GroupId": group_id, "GroupName": name})
    return found


def _public_addresses(tx: Transaction, interface_ids: Sequence[str]) -> dict[tuple[str, str], PublicAddress]:
    """Give the public addresses by interface and private address."""
    found: dict[tuple[str, str], PublicAddress] = {}
    for batch in lookup.batches(interface_ids):
        for row in tx.session.scalars(select(PublicAddress).where(PublicAddress.interface_id.in_(batch))):
            found[row.interface_id or "", row.private_address or ""] = row
    return found


def _private_addresses(tx: Transaction, interface_ids: Sequence[str]) -> dict[str, list[tuple[str, bool]]]:
    """Give each interface's addresses beside its primary one, and whether they are IPv6."""
    found: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    held = InterfaceAddress
    for batch in lookup.batches(interface_ids):
        query = (
            select(held.interface_id, held.address, held.ipv6)
            .where(held.interface_id.in_(batch), held.primary.is_(False))
            .order_by(held.position, held.address)
        )
        for interface_id, address, ipv6 in tx.session.execute(query):
            found[interface_id].append((address, ipv6))
    return found


def _with_names(tx: Transaction, vpc_ids: Iterable[str], gives: ColumnElement[bool]) -> set[str]:
    """Give those of the VPCs that give names to addresses, public or private ones."""
    query = select(Vpc.id).where(Vpc.id.in_(list(vpc_ids)), gives)
    return set(tx.session.scalars(query))
