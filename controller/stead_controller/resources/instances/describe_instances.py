"""Instances in EC2's own shape: which ones are asked for, and all that is shown of them.

A page of a thousand must cost milliseconds: the ids are chosen first, by one query; then a handful of queries for each
thousand reads columns, no objects, and every value is put into its place once.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import BindParameter, Row, and_, bindparam, case, select

from stead_controller.catalog import instance_types
from stead_controller.db.prepared import Prepared
from stead_controller.db.tables import (
    Instance,
    InstanceProfileAssociation,
    InterfaceAddress,
    InterfaceGroup,
    NetworkInterface,
    PublicAddress,
    SecurityGroup,
    Volume,
    Vpc,
)
from stead_controller.names import instance_name, public_name, shown_private_name
from stead_controller.request import lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.conditions import Selection
from stead_controller.request.transaction import Transaction
from stead_controller.request.zones import zone_ids
from stead_controller.resources import tags
from stead_controller.resources.instances import instance_filters
from stead_controller.resources.instances.instance_states import STATE_CODES
from stead_controller.resources.network import connection_tracking, private_names
from stead_controller.resources.network.network_interface_filters import VPC_GIVES_NAMES

Shown = dict[str, Any]
type _Row = Row[*tuple[Any, ...]]

_STATES: Final = {name: {"Code": code, "Name": name} for name, code in STATE_CODES.items()}
# By whether detailed metrics are wanted, and whether the instance is only being launched.
_MONITORING: Final = {
    (True, True): {"State": "pending"},
    (True, False): {"State": "enabled"},
    (False, True): {"State": "disabled"},
    (False, False): {"State": "disabled"},
}

# What is the same for every instance. Answers share these values, so nobody may change them. `Operator` and
# `NetworkPerformanceOptions`, which say nothing here, are left out: clients pay for each member when they parse.
_ALIKE: Final[Mapping[str, Any]] = {
    "ProductCodes": [],
    "EnaSupport": True,
    "Hypervisor": "xen",
    "RootDeviceType": "ebs",
    "VirtualizationType": "hvm",
    "CapacityReservationSpecification": {"CapacityReservationPreference": "open"},
    "HibernationOptions": {"Configured": False},
    "EnclaveOptions": {"Enabled": False},
    "PlatformDetails": "Linux/UNIX",
    "UsageOperation": "RunInstances",
}
_MAINTENANCE: Final = {
    True: {"AutoRecovery": "default", "RebootMigration": "default"},
    False: {"AutoRecovery": "disabled", "RebootMigration": "default"},
}

_INSTANCE: Final = (
    Instance.id,
    Instance.account_id,
    Instance.reservation_id,
    Instance.image_id,
    Instance.instance_type,
    Instance.vcpus,
    Instance.architecture,
    Instance.boot_mode,
    Instance.state,
    Instance.state_reason_code,
    Instance.state_reason_message,
    Instance.state_transition_reason,
    Instance.zone,
    Instance.vpc_id,
    Instance.subnet_id,
    Instance.private_address,
    Instance.public_address,
    Instance.key_name,
    Instance.launch_time,
    Instance.launch_index,
    Instance.client_token,
    Instance.root_device_name,
    Instance.ebs_optimized,
    Instance.monitoring,
    Instance.auto_recovery,
    Instance.metadata_enabled,
    Instance.metadata_tokens_required,
    Instance.metadata_hop_limit,
    Instance.metadata_tags,
    Instance.metadata_ipv6,
    Instance.metadata_pending,
    Instance.profile_association_id,
    Instance.hostname_type,
    Instance.resource_name_a_record,
    Instance.resource_name_aaaa_record,
)
_INTERFACE: Final = (
    NetworkInterface.id,
    NetworkInterface.account_id,
    NetworkInterface.instance_id,
    NetworkInterface.vpc_id,
    NetworkInterface.subnet_id,
    NetworkInterface.description,
    NetworkInterface.mac_address,
    NetworkInterface.private_address,
    NetworkInterface.source_dest_check,
    NetworkInterface.status,
    NetworkInterface.attachment_id,
    NetworkInterface.device_index,
    NetworkInterface.attachment_state,
    NetworkInterface.attach_time,
    NetworkInterface.delete_on_termination,
    NetworkInterface.interface_type,
    NetworkInterface.tcp_established_timeout,
    NetworkInterface.udp_timeout,
    NetworkInterface.udp_stream_timeout,
    PublicAddress.address.label("public_address"),
    case((PublicAddress.allocation_id.is_(None), "amazon"), else_=PublicAddress.account_id).label("public_owner"),
    VPC_GIVES_NAMES.label("named"),
    Vpc.dns_hostnames.label("host_names"),
)
# The addresses of an interface beside its primary one.
_HELD: Final = (
    InterfaceAddress.interface_id,
    InterfaceAddress.address,
    InterfaceAddress.ipv6,
    PublicAddress.address.label("public_address"),
    case((PublicAddress.allocation_id.is_(None), "amazon"), else_=PublicAddress.account_id).label("public_owner"),
)
_VOLUME: Final = (
    Volume.id,
    Volume.instance_id,
    Volume.device_name,
    Volume.attachment_state,
    Volume.attach_time,
    Volume.delete_on_termination,
)

# Each launch shows what it made: a statement that is written once need not be put together again.
_IDS: Final[BindParameter[Any]] = bindparam("ids", expanding=True)
_INSTANCES: Final = Prepared(select(*_INSTANCE).where(Instance.id.in_(_IDS)).order_by(Instance.id))
_INTERFACES: Final = Prepared(
    select(*_INTERFACE)
    .join(Vpc, Vpc.id == NetworkInterface.vpc_id)
    .outerjoin(
        PublicAddress,
        and_(
            PublicAddress.interface_id == NetworkInterface.id,
            PublicAddress.private_address == NetworkInterface.private_address,
        ),
    )
    .where(NetworkInterface.instance_id.in_(_IDS))
    .order_by(NetworkInterface.device_index)
)
_HELD_BESIDE: Final = Prepared(
    select(*_HELD)
    .outerjoin(
        PublicAddress,
        and_(
            PublicAddress.interface_id == InterfaceAddress.interface_id,
            PublicAddress.private_address == InterfaceAddress.address,
        ),
    )
    .where(InterfaceAddress.interface_id.in_(_IDS), InterfaceAddress.primary.is_(False))
    .order_by(InterfaceAddress.position, InterfaceAddress.address)
)
_GROUPS: Final = Prepared(
    select(InterfaceGroup.interface_id, InterfaceGroup.group_id, SecurityGroup.name)
    .join(SecurityGroup, SecurityGroup.id == InterfaceGroup.group_id)
    .where(InterfaceGroup.interface_id.in_(_IDS))
    .order_by(InterfaceGroup.group_id)
)
_VOLUMES: Final = Prepared(select(*_VOLUME).where(Volume.instance_id.in_(_IDS)).order_by(Volume.device_name))
_OF_RESERVATION: Final = Prepared(
    select(Instance.id).where(
        Instance.account_id == bindparam("account_id"), Instance.reservation_id == bindparam("reservation_id")
    )
)


def select_ids(tx: Transaction, caller: Caller, cloud: Cloud, asked: Selection) -> list[str]:
    """Choose the caller's instances that are asked for, sorted by id; raises MalformedId, NotFound."""
    mine = Instance.account_id == caller.account_id
    lookup.require(tx, "instance", Instance.id, asked.ids, mine)
    conditions = instance_filters.conditions(cloud)
    return lookup.select_ids(tx, caller, Instance.id, asked, mine, conditions=conditions)


def reservations(tx: Transaction, caller: Caller, cloud: Cloud, instance_ids: Sequence[str]) -> list[Shown]:
    """Show instances grouped by reservation, as DescribeInstances answers; ids must be the caller's."""
    grouped: dict[str, list[Shown]] = {}
    for batch in lookup.batches(instance_ids):
        for reservation_id, instance in _Batch(tx, caller, cloud, batch).shown():
            grouped.setdefault(reservation_id, []).append(instance)
    for instances in grouped.values():
        instances.sort(key=_launch_index)
    return [
        {"ReservationId": reservation_id, "OwnerId": caller.account_id, "Groups": [], "Instances": instances}
        for reservation_id, instances in grouped.items()
    ]


def reservation(tx: Transaction, caller: Caller, cloud: Cloud, reservation_id: str) -> Shown:
    """Show the instances of one launch, as RunInstances answers."""
    asked = {"account_id": caller.account_id, "reservation_id": reservation_id}
    found = reservations(tx, caller, cloud, _OF_RESERVATION.scalars(tx.connection, asked))
    if found:
        return found[0]
    return {"ReservationId": reservation_id, "OwnerId": caller.account_id, "Groups": [], "Instances": []}


def block_device_mappings(tx: Transaction, instance_id: str) -> list[Shown]:
    """Show the volumes of one instance, by device."""
    query = select(*_VOLUME).where(Volume.instance_id == instance_id).order_by(Volume.device_name)
    return [_mapping(row) for row in tx.session.execute(query)]


def _launch_index(instance: Shown) -> int:
    index: int = instance["AmiLaunchIndex"]
    return index


class _Batch:
    """Some instances with all that hangs on them, read by a handful of queries."""

    def __init__(self, tx: Transaction, caller: Caller, cloud: Cloud, instance_ids: Sequence[str]) -> None:
        """Read the rows."""
        self._rows = tx.connection  # plain rows: the session would wrap each once more
        self._region = cloud.region
        self._zone_ids = zone_ids(cloud)
        self._instances = _INSTANCES.named(self._rows, {"ids": instance_ids})
        self._interfaces = self._read_interfaces(instance_ids)
        interface_ids = [row.id for rows in self._interfaces.values() for row in rows]
        self._held = self._read_held(interface_ids)
        self._groups = self._read_groups(interface_ids)
        self._volumes = self._read_volumes(instance_ids)
        self._tags = tags.of(tx, caller.account_id, instance_ids)
        self._profiles = self._read_profiles()

    def shown(self) -> Iterable[tuple[str, Shown]]:
        """Each instance with the id of its reservation."""
        return ((row.reservation_id, self._instance(row)) for row in self._instances)

    def _read_interfaces(self, instance_ids: Sequence[str]) -> Mapping[str, list[_Row]]:
        found: dict[str, list[_Row]] = defaultdict(list)
        for row in _INTERFACES.named(self._rows, {"ids": instance_ids}):
            found[row.instance_id].append(row)
        return found

    def _read_held(self, interface_ids: Sequence[str]) -> Mapping[str, list[_Row]]:
        found: dict[str, list[_Row]] = defaultdict(list)
        for row in _HELD_BESIDE.named(self._rows, {"ids": interface_ids}):
            found[row.interface_id].append(row)
        return found

    def _read_groups(self, interface_ids: Sequence[str]) -> Mapping[str, list[Shown]]:
        known: dict[str, Shown] = {}
        found: dict[str, list[Shown]] = defaultdict(list)
        for interface_id, group_id, name in _GROUPS.all(self._rows, {"ids": interface_ids}):
            group = known.setdefault(group_id, {"GroupId": group_id, "GroupName": name})
            found[interface_id].append(group)
        return found

    def _read_volumes(self, instance_ids: Sequence[str]) -> Mapping[str, list[_Row]]:
        found: dict[str, list[_Row]] = defaultdict(list)
        for row in _VOLUMES.named(self._rows, {"ids": instance_ids}):
            found[row.instance_id].append(row)
        return found

    def _read_profiles(self) -> Mapping[str, Shown]:
        association = InstanceProfileAssociation
        wanted = [row.profile_association_id for row in self._instances if row.profile_association_id]
        if not wanted:
            return {}
        columns = (association.instance_id, association.profile_arn, association.profile_id)
        rows = self._rows.execute(select(*columns).where(association.id.in_(wanted)))
        return {instance_id: {"Arn": arn, "Id": profile_id} for instance_id, arn, profile_id in rows}

    def _instance(self, row: _Row) -> Shown:
        instance_id = row.id
        interfaces = self._interfaces.get(instance_id, ())
        primary = interfaces[0] if interfaces else None
        shown = {
            **_ALIKE,
            "InstanceId": instance_id,
            "ImageId": row.image_id,
            "State": _STATES[row.state],
            "StateTransitionReason": row.state_transition_reason,
            "KeyName": row.key_name,
            "AmiLaunchIndex": row.launch_index,
            "InstanceType": row.instance_type,
            "LaunchTime": row.launch_time,
            "Placement": {
                "AvailabilityZone": row.zone,
                "AvailabilityZoneId": self._zone_ids.get(row.zone),
                "GroupName": "",
                "Tenancy": "default",
            },
            "Monitoring": _MONITORING[row.monitoring, row.state == "pending"],
            "MaintenanceOptions": _MAINTENANCE[row.auto_recovery],
            "Architecture": row.architecture,
            "BlockDeviceMappings": [
                _mapping(volume) for volume in _root_first(self._volumes.get(instance_id, ()), row.root_device_name)
            ],
            "ClientToken": row.client_token,
            "EbsOptimized": row.ebs_optimized,
            "NetworkInterfaces": [self._interface(interface) for interface in interfaces],
            "RootDeviceName": row.root_device_name,
            "SecurityGroups": self._groups.get(primary.id, []) if primary else [],
            "SourceDestCheck": primary.source_dest_check if primary else None,
            "Tags": self._tags.get(instance_id),
            "IamInstanceProfile": self._profiles.get(instance_id),
            "CpuOptions": _cpu_options(row.instance_type, row.vcpus),
            "MetadataOptions": metadata_options(row),
            "PrivateDnsNameOptions": private_names.shown(row),
            "BootMode": row.boot_mode,
            "CurrentInstanceBootMode": row.boot_mode,
            "UsageOperationUpdateTime": primary.attach_time if primary else row.launch_time,
        }
        if row.state_reason_code:
            shown["StateReason"] = {"Code": row.state_reason_code, "Message": row.state_reason_message}
        if row.state == "terminated":
            shown["PrivateDnsName"] = shown["PublicDnsName"] = ""
        else:
            named = primary is not None and bool(primary.named)
            shown["PublicDnsName"] = self._public_name(row.public_address, named=named)
            host_names = primary is not None and bool(primary.host_names)
            name = instance_name(instance_id, row.private_address, row.hostname_type, self._region)
            shown["PrivateDnsName"] = name if host_names else ""
            shown["PrivateIpAddress"] = row.private_address
            shown["PublicIpAddress"] = row.public_address
            held = self._held.get(primary.id, ()) if primary is not None else ()
            shown["Ipv6Address"] = next((one.address for one in held if one.ipv6), None)
            shown["SubnetId"] = row.subnet_id
            shown["VpcId"] = row.vpc_id
        return shown

    def _interface(self, row: _Row) -> Shown:
        first = None if row.private_address is None else self._private(row.private_address, row, row, primary=True)
        held = self._held.get(row.id, ())
        ipv4 = [self._private(one.address, one, row, primary=False) for one in held if not one.ipv6] if held else []
        return {
            "NetworkInterfaceId": row.id,
            "OwnerId": row.account_id,
            "SubnetId": row.subnet_id,
            "VpcId": row.vpc_id,
            "Description": row.description,
            "MacAddress": row.mac_address,
            "PrivateDnsName": first and first["PrivateDnsName"],
            "PrivateIpAddress": row.private_address,
            "PrivateIpAddresses": [first, *ipv4] if first else [],
            "Association": first and first["Association"],
            "Attachment": {
                "AttachmentId": row.attachment_id,
                "AttachTime": row.attach_time,
                "DeleteOnTermination": row.delete_on_termination,
                "DeviceIndex": row.device_index,
                "Status": row.attachment_state,
                "NetworkCardIndex": 0,
            },
            "Groups": self._groups.get(row.id, []),
            "Ipv6Addresses": [{"Ipv6Address": one.address, "IsPrimaryIpv6": False} for one in held if one.ipv6],
            "SourceDestCheck": row.source_dest_check,
            "Status": row.status,
            "InterfaceType": row.interface_type,
            "ConnectionTrackingConfiguration": connection_tracking.shown(row),
        }

    def _private(self, address: str, row: _Row, interface: _Row, *, primary: bool) -> Shown:
        """A private address with its public one, which the row has, and the names that the interface's VPC gives."""
        association = None
        if row.public_address is not None:
            name = self._public_name(row.public_address, named=interface.named)
            association = {"PublicIp": row.public_address, "PublicDnsName": name, "IpOwnerId": row.public_owner}
        return {
            "PrivateIpAddress": address,
            "PrivateDnsName": shown_private_name(address, self._region, named=interface.host_names) or None,
            "Primary": primary,
            "Association": association,
        }

    def _public_name(self, address: str | None, *, named: bool) -> str:
        return public_name(address, self._region) if address is not None and named else ""


def metadata_options(row: Any) -> Shown:
    """The metadata options of a row or an Instance; they are applied when its host has said so."""
    return {
        "State": "pending" if row.metadata_pending else "applied",
        "HttpTokens": "required" if row.metadata_tokens_required else "optional",
        "HttpPutResponseHopLimit": row.metadata_hop_limit,
        "HttpEndpoint": "enabled" if row.metadata_enabled else "disabled",
        "HttpProtocolIpv6": "enabled" if row.metadata_ipv6 else "disabled",
        "InstanceMetadataTags": "enabled" if row.metadata_tags else "disabled",
    }


def _cpu_options(instance_type: str, vcpus: int) -> Shown:
    found = instance_types.find(instance_type)
    if found is None:
        return {"CoreCount": vcpus, "ThreadsPerCore": 1}
    return {"CoreCount": found.cores, "ThreadsPerCore": found.threads_per_core}


def _root_first(volumes: Sequence[_Row], root_device_name: str) -> Sequence[_Row]:
    if len(volumes) < 2:
        return volumes
    return sorted(volumes, key=lambda volume: volume.device_name != root_device_name)


def _mapping(row: _Row) -> Shown:
    return {
        "DeviceName": row.device_name,
        "Ebs": {
            "VolumeId": row.id,
            "Status": row.attachment_state,
            "AttachTime": row.attach_time,
            "DeleteOnTermination": row.delete_on_termination,
        },
    }
