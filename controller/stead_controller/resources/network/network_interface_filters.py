"""The filters of DescribeNetworkInterfaces, as EC2 documents them, as conditions on rows.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeNetworkInterfaces.html.
"""

from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, case, func, select
from sqlalchemy.orm import aliased

from stead_controller.db.tables import (
    InterfaceAddress,
    InterfaceGroup,
    NetworkInterface,
    PublicAddress,
    SecurityGroup,
    Vpc,
)
from stead_controller.names import private_domain, public_domain
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import (
    NEVER,
    Condition,
    among,
    constant,
    exists_where,
    flag,
    instant,
    number,
    own,
    shown_as,
    text,
)
from stead_controller.request.zones import zone_ids

CLOUD_ACCOUNT: Final = "amazon-aws"
"""The shown requester of interfaces that the cloud creates for itself."""

VPC_GIVES_NAMES: Final = and_(Vpc.dns_support.is_(True), Vpc.dns_hostnames.is_(True))
"""Whether public addresses in a VPC have names; without its DNS they would not resolve."""

_Of: Final = aliased(NetworkInterface)
_Held: Final = aliased(InterfaceAddress)


def conditions(cloud: Cloud) -> dict[str, Condition]:
    """All filters by name, without those about tags."""
    row = NetworkInterface
    return (
        _of_addresses(cloud)
        | _of_attachments()
        | _of_groups()
        | {
            "availability-zone": text(row.zone),
            "availability-zone-id": shown_as(row.zone, zone_ids(cloud)),
            "description": text(row.description),
            "interface-type": text(row.interface_type),
            "mac-address": text(row.mac_address),
            "network-interface-id": text(row.id),
            "operator.managed": constant("false"),
            "operator.principal": NEVER,
            "owner-id": text(row.account_id),
            "requester-id": text(_requester()),
            "requester-managed": flag(row.requester_managed),
            "source-dest-check": flag(row.source_dest_check),
            "status": text(row.status),
            "subnet-id": text(row.subnet_id),
            "vpc-id": text(row.vpc_id),
        }
    )


def _of_addresses(cloud: Cloud) -> dict[str, Condition]:
    row, public = NetworkInterface, PublicAddress
    private_dns_name = "ip-" + func.replace(row.private_address, ".", "-") + f".{private_domain(cloud.region)}"
    any_public = _public()
    primary = any_public.where(public.private_address == row.private_address)
    held = select(_Held.interface_id)
    return {
        "addresses.primary": constant("true"),
        "addresses.private-ip-address": among(row.id, held.where(_Held.ipv6.is_(False)), text(_Held.address)),
        "ipv6-addresses.ipv6-address": among(row.id, held.where(_Held.ipv6.is_(True)), text(_Held.address)),
        "private-dns-name": exists_where(_vpc_with_host_names(), text(private_dns_name)),
        "private-ip-address": text(row.private_address),
        "addresses.association.owner-id": exists_where(any_public, text(public_owner())),
        "association.ip-owner-id": exists_where(primary, text(public_owner())),
        **_of_associations("addresses.association", any_public, cloud),
        **_of_associations("association", primary, cloud),
    }


def _of_associations(prefix: str, query: Select[Any], cloud: Cloud) -> dict[str, Condition]:
    named = query.join(Vpc, Vpc.id == NetworkInterface.vpc_id).where(VPC_GIVES_NAMES)
    return {
        f"{prefix}.allocation-id": exists_where(query, text(PublicAddress.allocation_id)),
        f"{prefix}.association-id": exists_where(query, text(PublicAddress.association_id)),
        f"{prefix}.public-dns-name": exists_where(named, text(public_dns_name(PublicAddress.address, cloud))),
        f"{prefix}.public-ip": exists_where(query, text(PublicAddress.address)),
    }


def _of_attachments() -> dict[str, Condition]:
    row = NetworkInterface
    owner = case((row.requester_managed.is_(True), CLOUD_ACCOUNT), else_=row.account_id)
    return {
        "attachment.attach-time": instant(row.attach_time),
        "attachment.attachment-id": text(row.attachment_id),
        "attachment.delete-on-termination": _attached(flag(row.delete_on_termination)),
        "attachment.device-index": number(row.device_index),
        "attachment.instance-id": among(row.id, select(_Of.id), text(_Of.instance_id), owner=_Of.account_id),
        "attachment.instance-owner-id": _attached(text(owner)),
        "attachment.nat-gateway-id": text(row.nat_gateway_id),
        "attachment.status": text(row.attachment_state),
    }


def _of_groups() -> dict[str, Condition]:
    row = NetworkInterface
    groups = select(InterfaceGroup.interface_id)
    named = groups.join(SecurityGroup, SecurityGroup.id == InterfaceGroup.group_id)
    named = named.where(InterfaceGroup.interface_id == row.id).correlate(row)
    return {
        "group-id": among(row.id, groups, own(InterfaceGroup.group_id, SecurityGroup.id, SecurityGroup.account_id)),
        "group-name": exists_where(named, text(SecurityGroup.name)),
    }


def _vpc_with_host_names() -> Select[Any]:
    query = select(Vpc.id).where(Vpc.id == NetworkInterface.vpc_id, Vpc.dns_hostnames.is_(True))
    return query.correlate(NetworkInterface)


def _requester() -> ColumnElement[str]:
    row = NetworkInterface
    asked: ColumnElement[str] = func.coalesce(row.requester_id, row.account_id)
    return case((row.requester_managed.is_(True), CLOUD_ACCOUNT), else_=asked)


def public_owner() -> ColumnElement[str]:
    """The shown owner of a public address: its account when it is elastic, else the cloud."""
    return case((PublicAddress.allocation_id.is_(None), "amazon"), else_=PublicAddress.account_id)


def public_dns_name(address: Any, cloud: Cloud) -> ColumnElement[str]:
    """The public name of a column's address, as SQL."""
    name: ColumnElement[str] = "ec2-" + func.replace(address, ".", "-") + f".{public_domain(cloud.region)}"
    return name


def _attached(inner: Condition) -> Condition:
    return lambda asked: inner(asked) & NetworkInterface.attachment_id.is_not(None)


def _public() -> Select[Any]:
    return (
        select(PublicAddress.address)
        .where(PublicAddress.interface_id == NetworkInterface.id)
        .correlate(NetworkInterface)
    )
