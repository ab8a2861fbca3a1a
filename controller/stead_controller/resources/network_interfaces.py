"""Network interfaces as EC2 shows them; making and attaching them comes with the next issue."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Select, func, select
from sqlalchemy.orm import aliased

from stead_controller.db.tables import InterfaceGroup, NetworkInterface, PublicAddress, SecurityGroup
from stead_controller.names import private_domain, private_name
from stead_controller.resources import lookup, tags
from stead_controller.resources.caller import Caller
from stead_controller.resources.cloud import Cloud
from stead_controller.resources.conditions import (
    NEVER,
    Condition,
    Selection,
    among,
    constant,
    exists_where,
    flag,
    instant,
    number,
    shown_as,
    text,
)
from stead_controller.resources.transaction import Transaction
from stead_controller.resources.zones import zone_ids

_Of: Final = aliased(NetworkInterface)
_ABSENT: Final = (
    "addresses.association.allocation-id",
    "addresses.association.association-id",
    "addresses.association.public-dns-name",
    "association.allocation-id",
    "association.association-id",
    "association.public-dns-name",
    "ipv6-addresses.ipv6-address",
    "operator.principal",
    "requester-id",
)


def conditions(cloud: Cloud) -> dict[str, Condition]:
    """All filters by name, without those about tags."""
    row = NetworkInterface
    groups = select(InterfaceGroup.interface_id)
    named = groups.join(SecurityGroup, SecurityGroup.id == InterfaceGroup.group_id)
    named = named.where(InterfaceGroup.interface_id == row.id).correlate(row)
    address = text(row.private_address)
    public = exists_where(_public(), text(PublicAddress.address))
    private_dns_name = "ip-" + func.replace(row.private_address, ".", "-") + f".{private_domain(cloud.region)}"
    return dict.fromkeys(_ABSENT, NEVER) | {
        "addresses.association.owner-id": exists_where(_public(), constant("amazon")),
        "addresses.association.public-ip": public,
        "addresses.primary": constant("true"),
        "addresses.private-ip-address": address,
        "association.ip-owner-id": exists_where(_public(), constant("amazon")),
        "association.public-ip": public,
        "attachment.attach-time": instant(row.attach_time),
        "attachment.attachment-id": text(row.attachment_id),
        "attachment.delete-on-termination": _attached(flag(row.delete_on_termination)),
        "attachment.device-index": number(row.device_index),
        "attachment.instance-id": among(row.id, select(_Of.id), text(_Of.instance_id)),
        "attachment.instance-owner-id": _attached(text(row.account_id)),
        "attachment.nat-gateway-id": NEVER,
        "attachment.status": text(row.attachment_state),
        "availability-zone": text(row.zone),
        "availability-zone-id": shown_as(row.zone, zone_ids(cloud)),
        "description": text(row.description),
        "group-id": among(row.id, groups, text(InterfaceGroup.group_id)),
        "group-name": exists_where(named, text(SecurityGroup.name)),
        "interface-type": constant("interface"),
        "mac-address": text(row.mac_address),
        "network-interface-id": text(row.id),
        "operator.managed": constant("false"),
        "owner-id": text(row.account_id),
        "private-dns-name": text(private_dns_name),
        "private-ip-address": address,
        "requester-managed": flag(row.requester_managed),
        "source-dest-check": flag(row.source_dest_check),
        "status": text(row.status),
        "subnet-id": text(row.subnet_id),
        "vpc-id": text(row.vpc_id),
    }


def describe(tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection) -> list[dict[str, Any]]:
    """List the caller's network interfaces in EC2's shape, sorted by id; raises MalformedId, NotFound."""
    found = lookup.select_page(tx, caller, "network-interface", NetworkInterface, asked, conditions=conditions(cloud))
    ids = [interface.id for interface in found]
    groups = _groups(tx, ids)
    public = _public_addresses(tx, ids)
    tagged = tags.of(tx, caller.account_id, ids)
    zones = zone_ids(cloud)
    return [
        _shown(interface, cloud, public.get(interface.id))
        | {
            "AvailabilityZoneId": zones.get(interface.zone),
            "Groups": groups[interface.id],
            "TagSet": tagged.get(interface.id, []),
        }
        for interface in found
    ]


def _shown(interface: NetworkInterface, cloud: Cloud, public_address: str | None) -> dict[str, Any]:
    name = private_name(interface.private_address, cloud.region)
    association = None
    if public_address is not None:
        association = {"PublicIp": public_address, "PublicDnsName": "", "IpOwnerId": "amazon"}
    return {
        "NetworkInterfaceId": interface.id,
        "OwnerId": interface.account_id,
        "InterfaceType": "interface",
        "Status": interface.status,
        "Description": interface.description,
        "AvailabilityZone": interface.zone,
        "SubnetId": interface.subnet_id,
        "VpcId": interface.vpc_id,
        "MacAddress": interface.mac_address,
        "PrivateDnsName": name,
        "PrivateIpAddress": interface.private_address,
        "PrivateIpAddresses": [
            {
                "PrivateIpAddress": interface.private_address,
                "PrivateDnsName": name,
                "Primary": True,
                "Association": association,
            }
        ],
        "Ipv6Addresses": [],
        "Association": association,
        "Attachment": _attachment(interface),
        "RequesterManaged": interface.requester_managed,
        "SourceDestCheck": interface.source_dest_check,
        "Operator": {"Managed": False},
    }


def _attachment(interface: NetworkInterface) -> dict[str, Any] | None:
    if interface.attachment_id is None:
        return None
    return {
        "AttachmentId": interface.attachment_id,
        "AttachTime": interface.attach_time,
        "DeleteOnTermination": interface.delete_on_termination,
        "DeviceIndex": interface.device_index,
        "NetworkCardIndex": 0,
        "InstanceId": interface.instance_id,
        "InstanceOwnerId": interface.account_id,
        "Status": interface.attachment_state,
    }


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


def _public_addresses(tx: Transaction, interface_ids: Sequence[str]) -> dict[str, str]:
    """Give the public address of each interface's primary private address."""
    found: dict[str, str] = {}
    for batch in lookup.batches(interface_ids):
        query = (
            select(NetworkInterface.id, PublicAddress.address)
            .join(PublicAddress, PublicAddress.interface_id == NetworkInterface.id)
            .where(NetworkInterface.id.in_(batch), PublicAddress.private_address == NetworkInterface.private_address)
        )
        found.update({row[0]: row[1] for row in tx.session.execute(query)})
    return found


def _attached(inner: Condition) -> Condition:
    return lambda asked: inner(asked) & NetworkInterface.attachment_id.is_not(None)


def _public() -> Select[Any]:
    return (
        select(PublicAddress.address)
        .where(PublicAddress.interface_id == NetworkInterface.id)
        .correlate(NetworkInterface)
    )
