"""The filters of DescribeInstances, as EC2 documents them, as conditions on rows.

See https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html. Filters about what no instance
has here (Outposts, IPv6, Windows, …) are known and match nothing.
"""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, and_, case, func, select, true
from sqlalchemy.orm import aliased

from stead_controller.catalog import boot_modes
from stead_controller.db.tables import (
    Instance,
    InstanceProfileAssociation,
    InterfaceAddress,
    InterfaceGroup,
    NetworkInterface,
    PublicAddress,
    SecurityGroup,
    Tag,
    Volume,
    Vpc,
)
from stead_controller.names import private_domain
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
    switch,
    text,
)
from stead_controller.request.filters import Filter
from stead_controller.request.zones import zone_ids
from stead_controller.resources.images.register_image import TPM_VERSION
from stead_controller.resources.instances.instance_states import STATE_CODES
from stead_controller.resources.network.network_interface_filters import VPC_GIVES_NAMES, public_dns_name, public_owner

_STATE_MASK: Final = 0xFF  # the high byte of a state code means nothing outside of EC2
_ABSENT: Final = (
    "capacity-reservation-specification.capacity-reservation-target.capacity-reservation-resource-group-arn",
    "kernel-id",
    "network-interface.addresses.association.carrier-ip",
    "network-interface.addresses.association.customer-owned-ip",
    "network-interface.association.carrier-ip",
    "network-interface.association.customer-owned-ip",
    "network-interface.ipv4-prefixes.ipv4-prefix",
    "network-interface.ipv6-addresses.is-primary-ipv6",
    "network-interface.ipv6-prefixes.ipv6-prefix",
    "network-interface.operator.principal",
    "network-interface.outpost-arn",
    "network-interface.requester-id",
    "operator.principal",
    "outpost-arn",
    "platform",
    "product-code",
    "product-code.type",
    "ramdisk-id",
    "requester-id",
)
_ALIKE: Final = {
    "ena-support": "true",
    "enclave-options.enabled": "false",
    "hypervisor": "xen",
    "metadata-options.http-protocol-ipv4": "enabled",
    "network-performance-options.bandwidth-weighting": "default",
    "operator.managed": "false",
    "platform-details": "Linux/UNIX",
    "root-device-type": "ebs",
    "usage-operation": "RunInstances",
    "virtualization-type": "hvm",
}
_BY_TENANCY: Final[dict[str, Condition]] = {
    "affinity": text(case((Instance.tenancy == "host", Instance.host_affinity))),
    "host-id": text(Instance.dedicated_host_id),
    "tenancy": text(Instance.tenancy),
}

# An alias of the table, so that these subqueries are not confused with the outer query's interface.
_Interface: Final = aliased(NetworkInterface)
_Volume: Final = aliased(Volume)


@cache
def conditions(cloud: Cloud) -> Mapping[str, Condition]:
    """All filters by name, without those about the instance's own tags."""
    domain = private_domain(cloud.region)
    ids = zone_ids(cloud)
    own: dict[str, Condition] = {
        **_BY_TENANCY,
        "architecture": text(Instance.architecture),
        "availability-zone": text(Instance.zone),
        "availability-zone-id": shown_as(Instance.zone, ids),
        "boot-mode": text(Instance.boot_mode),
        "capacity-reservation-id": text(Instance.capacity_reservation_id),
        "capacity-reservation-specification.capacity-reservation-preference": text(Instance.reservation_preference),
        "capacity-reservation-specification.capacity-reservation-target.capacity-reservation-id": text(
            Instance.reservation_target
        ),
        "client-token": text(Instance.client_token),
        "current-instance-boot-mode": shown_as(Instance.boot_mode, boot_modes.CURRENT),
        "ebs-optimized": flag(Instance.ebs_optimized),
        "hibernation-options.configured": flag(Instance.hibernation),
        "image-id": text(Instance.image_id),
        "instance-id": text(Instance.id),
        "instance-lifecycle": text(case((Instance.spot_request_id.is_not(None), "spot"))),
        "instance-state-code": _state_code,
        "instance-state-name": text(Instance.state),
        "instance-type": text(Instance.instance_type),
        "ip-address": text(Instance.public_address),
        "key-name": text(Instance.key_name),
        "launch-index": number(Instance.launch_index),
        "launch-time": instant(Instance.launch_time),
        "maintenance-options.auto-recovery": shown_as(Instance.auto_recovery, {True: "default", False: "disabled"}),
        "metadata-options.http-endpoint": switch(Instance.metadata_enabled),
        "metadata-options.http-put-response-hop-limit": number(Instance.metadata_hop_limit),
        "metadata-options.http-tokens": shown_as(
            Instance.metadata_tokens_required, {True: "required", False: "optional"}
        ),
        "metadata-options.http-protocol-ipv6": switch(Instance.metadata_ipv6),
        "metadata-options.instance-metadata-tags": switch(Instance.metadata_tags),
        "metadata-options.state": shown_as(Instance.metadata_pending, {True: "pending", False: "applied"}),
        "monitoring-state": switch(Instance.monitoring),
        "owner-id": text(Instance.account_id),
        "placement-group-name": _named_group,
        "placement-partition-number": number(Instance.partition_number),
        "private-dns-name": text(_shown_private_name(domain)),
        "private-dns-name-options.enable-resource-name-dns-a-record": flag(Instance.resource_name_a_record),
        "private-dns-name-options.enable-resource-name-dns-aaaa-record": flag(Instance.resource_name_aaaa_record),
        "private-dns-name-options.hostname-type": text(Instance.hostname_type),
        "private-ip-address": _placed(text(Instance.private_address)),
        "reason": text(Instance.state_transition_reason),
        "reservation-id": text(Instance.reservation_id),
        "root-device-name": text(Instance.root_device_name),
        "spot-instance-request-id": text(Instance.spot_request_id),
        "tpm-support": text(case((Instance.sealed_tpm_key.is_not(None), TPM_VERSION))),
        "state-reason-code": text(Instance.state_reason_code),
        "state-reason-message": text(Instance.state_reason_message),
        "subnet-id": _placed(text(Instance.subnet_id)),
        "vpc-id": _placed(text(Instance.vpc_id)),
    }
    alike = {name: constant(value) for name, value in _ALIKE.items()}
    absent = dict.fromkeys(_ABSENT, NEVER)
    interfaces = _of_interfaces(domain) | _of_addresses(cloud)
    return MappingProxyType(own | _of_volumes() | interfaces | _of_groups() | _of_profiles() | alike | absent)


def _of_volumes() -> dict[str, Condition]:
    mapping = select(_Volume.id).where(_Volume.instance_id == Instance.id).correlate(Instance)
    return {
        "block-device-mapping.attach-time": exists_where(mapping, instant(_Volume.attach_time)),
        "block-device-mapping.delete-on-termination": exists_where(mapping, flag(_Volume.delete_on_termination)),
        "block-device-mapping.device-name": exists_where(mapping, text(_Volume.device_name)),
        "block-device-mapping.status": exists_where(mapping, text(_Volume.attachment_state)),
        "block-device-mapping.volume-id": among(
            Instance.id, select(_Volume.instance_id), text(_Volume.id), owner=_Volume.account_id
        ),
    }


def _of_profiles() -> dict[str, Condition]:
    profile = InstanceProfileAssociation
    of = select(profile.instance_id)
    return {
        "iam-instance-profile.arn": among(Instance.id, of, text(profile.profile_arn)),
        "iam-instance-profile.id": among(Instance.id, of, text(profile.profile_id)),
        "iam-instance-profile.name": among(Instance.id, of, text(profile.profile_name)),
    }


def _of_interfaces(domain: str) -> dict[str, Condition]:
    column = _Interface
    by_index = select(column.instance_id)
    with_name = _interface().join(Vpc, Vpc.id == column.vpc_id).where(Vpc.dns_hostnames.is_(True))
    found: dict[str, Condition] = {
        "addresses.private-dns-name": exists_where(with_name, text(_private_name(column.private_address, domain))),
        "attachment.attach-time": exists_where(_interface(), instant(column.attach_time)),
        "attachment.attachment-id": exists_where(_interface(), text(column.attachment_id)),
        "attachment.delete-on-termination": exists_where(_interface(), flag(column.delete_on_termination)),
        "attachment.device-index": exists_where(_interface(), number(column.device_index)),
        "attachment.instance-id": among(Instance.id, by_index, text(column.instance_id), owner=column.account_id),
        "attachment.instance-owner-id": exists_where(_interface(), text(column.account_id)),
        "attachment.network-card-index": exists_where(_interface(), constant("0")),
        "attachment.status": exists_where(_interface(), text(column.attachment_state)),
        "availability-zone": exists_where(_interface(), text(column.zone)),
        "deny-all-igw-traffic": exists_where(_interface(), constant("false")),
        "description": exists_where(_interface(), text(column.description)),
        "ipv6-native": exists_where(_interface(), flag(column.private_address.is_(None))),
        "mac-address": among(Instance.id, by_index, text(column.mac_address)),
        "network-interface-id": among(Instance.id, by_index, text(column.id), owner=column.account_id),
        "operator.managed": exists_where(_interface(), constant("false")),
        "owner-id": exists_where(_interface(), text(column.account_id)),
        "private-dns-name": exists_where(with_name, text(_private_name(column.private_address, domain))),
        "private-ip-address": exists_where(_interface(), text(column.private_address)),
        "requester-managed": exists_where(_interface(), flag(column.requester_managed)),
        "source-dest-check": exists_where(_interface(), flag(column.source_dest_check)),
        "status": exists_where(_interface(), text(column.status)),
        "subnet-id": exists_where(_interface(), text(column.subnet_id)),
        "tag-key": exists_where(_interface_tags(), text(Tag.key)),
        "tag-value": exists_where(_interface_tags(), text(Tag.value)),
        "vpc-id": exists_where(_interface(), text(column.vpc_id)),
    }
    primary = _interface().where(column.device_index == 0)
    return {f"network-interface.{name}": condition for name, condition in found.items()} | {
        "source-dest-check": exists_where(primary, flag(column.source_dest_check)),
        "usage-operation-update-time": exists_where(primary, instant(column.attach_time)),
    }


def _of_addresses(cloud: Cloud) -> dict[str, Condition]:
    """The filters about the addresses of an instance's interfaces, public and private."""
    public, held = PublicAddress, InterfaceAddress
    of_any = _interface().join(public, public.interface_id == _Interface.id)
    of_primary = of_any.where(public.private_address == _Interface.private_address)
    name = public_dns_name(public.address, cloud)
    found: dict[str, Condition] = {}
    for prefix, query in (("addresses.association", of_any), ("association", of_primary)):
        named = query.join(Vpc, Vpc.id == _Interface.vpc_id).where(VPC_GIVES_NAMES)
        found |= {
            f"network-interface.{prefix}.allocation-id": exists_where(query, text(public.allocation_id)),
            f"network-interface.{prefix}.association-id": exists_where(query, text(public.association_id)),
            f"network-interface.{prefix}.ip-owner-id": exists_where(query, text(public_owner())),
            f"network-interface.{prefix}.public-dns-name": exists_where(named, text(name)),
            f"network-interface.{prefix}.public-ip": exists_where(query, text(public.address)),
        }
    private = _interface().join(held, held.interface_id == _Interface.id)
    by_index = select(_Interface.instance_id).join(held, held.interface_id == _Interface.id)
    ipv6 = among(Instance.id, by_index.where(held.ipv6.is_(True)), text(held.address))
    vpc = select(Vpc.id).where(Vpc.id == Instance.vpc_id, VPC_GIVES_NAMES).correlate(Instance)
    return found | {
        "dns-name": _placed(exists_where(vpc, text(public_dns_name(Instance.public_address, cloud)))),
        "ipv6-address": ipv6,
        "network-interface.addresses.primary": exists_where(private, flag(held.primary)),
        "network-interface.addresses.private-ip-address": among(
            Instance.id, by_index.where(held.ipv6.is_(False)), text(held.address)
        ),
        "network-interface.ipv6-address": ipv6,
        "network-interface.ipv6-addresses.ipv6-address": ipv6,
        "network-interface.public-dns-name": found["network-interface.association.public-dns-name"],
    }


def _of_groups() -> dict[str, Condition]:
    members = select(_Interface.instance_id).join(InterfaceGroup, InterfaceGroup.interface_id == _Interface.id)
    by_id = among(Instance.id, members, own(InterfaceGroup.group_id, SecurityGroup.id, SecurityGroup.account_id))
    named = members.join(SecurityGroup, SecurityGroup.id == InterfaceGroup.group_id)
    by_name = exists_where(
        named.where(_Interface.instance_id == Instance.id).correlate(Instance), text(SecurityGroup.name)
    )
    return {
        "group-id": by_id,
        "group-name": by_name,
        "instance.group-id": by_id,
        "instance.group-name": by_name,
        "network-interface.group-id": by_id,
        "network-interface.group-name": by_name,
    }


def _named_group(asked: Filter) -> ColumnElement[bool]:
    """Compare the name of the placement group, if the instance is in one."""
    return and_(Instance.placement_group_id.is_not(None), text(Instance.placement_group_name)(asked))


def _vpc_with_host_names() -> Select[Any]:
    return select(Vpc.id).where(Vpc.id == Instance.vpc_id, Vpc.dns_hostnames.is_(True)).correlate(Instance)


def _interface() -> Select[Any]:
    return select(_Interface.id).where(_Interface.instance_id == Instance.id).correlate(Instance)


def _interface_tags() -> Select[Any]:
    return _interface().join(Tag, and_(Tag.resource_id == _Interface.id, Tag.account_id == _Interface.account_id))


def _placed(inner: Condition) -> Condition:
    """A terminated instance shows no subnet or addresses, and these filters do not find it."""

    def condition(asked: Filter) -> ColumnElement[bool]:
        return and_(inner(asked), Instance.state != "terminated")

    return condition


def _private_name(address: Any, domain: str) -> ColumnElement[str]:
    name: ColumnElement[str] = "ip-" + func.replace(address, ".", "-") + f".{domain}"
    return name


def _shown_private_name(domain: str) -> ColumnElement[str]:
    """The shown private name of an instance: empty for a terminated one, or if its VPC has no DNS host names."""
    is_named = and_(Instance.state != "terminated", _vpc_with_host_names().exists())
    by_id = and_(is_named, Instance.hostname_type == "resource-name")
    by_address = _private_name(Instance.private_address, domain)
    return case((by_id, Instance.id + f".{domain}"), (is_named, by_address), else_="")


def _state_code(asked: Filter) -> ColumnElement[bool]:
    codes = {int(value) & _STATE_MASK for value in asked.exact if value.isascii() and value.isdigit()}
    wanted = [name for name, code in STATE_CODES.items() if code in codes or asked.matches(str(code))]
    return Instance.state.in_(wanted) if wanted else ~true()
