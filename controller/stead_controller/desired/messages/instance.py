"""Builds an instance's `Machine` with its volumes and interfaces from its rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from google.protobuf.message import Message
from sqlalchemy import bindparam, select

from stead_controller.catalog import boot_modes, cpu_credits
from stead_controller.db.prepared import Prepared, ask
from stead_controller.db.session import Transaction
from stead_controller.db.tables import (
    HostCore,
    HostDevice,
    Instance,
    InstanceEvent,
    InstanceFirmware,
    InstanceStoreDisk,
    InterfaceGroup,
    NetworkInterface,
    SecurityGroup,
    Tag,
    Volume,
)
from stead_controller.desired.messages.body import Key
from stead_controller.desired.messages.identity import of_session
from stead_controller.desired.messages.interface import Belongings, of_interface
from stead_controller.desired.messages.interface import questions as of_interface_asked
from stead_controller.desired.messages.region import zone_id_of
from stead_controller.desired.messages.role import of_role
from stead_controller.desired.messages.volume import of_used_volume
from stead_controller.names import instance_name, resource_name
from stead_controller.request import instance_types
from stead_proto.v1 import desired_pb2 as pb

_BYTES_PER_MEGABIT: Final = 1_000_000 // 8
_RUNNING_STATES: Final = frozenset({"pending", "running"})


_VOLUMES: Final = (
    select(Volume)
    .where(Volume.instance_id == bindparam("instance_id"), Volume.attachment_state.not_in(("detaching", "busy")))
    .order_by(Volume.attach_time, Volume.device_name, Volume.id)
)
_INTERFACES: Final = (
    select(NetworkInterface)
    .where(NetworkInterface.instance_id == bindparam("instance_id"), NetworkInterface.attachment_state != "detaching")
    .order_by(NetworkInterface.device_index)
)
_GROUPS: Final = Prepared(
    select(SecurityGroup.id, SecurityGroup.name)
    .join(InterfaceGroup, InterfaceGroup.group_id == SecurityGroup.id)
    .where(InterfaceGroup.interface_id == bindparam("interface_id"))
    .order_by(SecurityGroup.id)
)


_TAGS: Final = Prepared(select(Tag.key, Tag.value).where(Tag.resource_id == bindparam("resource_id")))


@dataclass(frozen=True, slots=True)
class Parts:
    """The interfaces and volumes that an instance's machine has, in order.

    Of an instance that was just launched also its tags, and what new interfaces have, by their ids.
    """

    interfaces: Sequence[NetworkInterface]
    volumes: Sequence[Volume]
    tags: Mapping[str, str] | None = None
    belongings: Mapping[str, Belongings] = field(default_factory=dict)


def parts_of(tx: Transaction, instance: Instance) -> Parts:
    """Read the parts of an instance."""
    asked = {"instance_id": instance.id}
    return Parts(tx.session.scalars(_INTERFACES, asked).all(), tx.session.scalars(_VOLUMES, asked).all())


def of_instance(tx: Transaction, instance: Instance, parts: Parts, region: str) -> dict[Key, Message]:
    """Return a machine with its volumes and its interfaces, by kind and id."""
    interfaces = parts.interfaces
    volumes = sorted(parts.volumes, key=lambda volume: volume.device_name != instance.root_device_name)
    messages: dict[Key, Message] = {}
    for volume in volumes:
        messages[pb.KIND_VOLUME, volume.id] = of_used_volume(tx, volume)
    _ask(tx, instance, parts)
    groups = {interface.id: _groups(tx, interface.id, parts) for interface in interfaces}
    primary: Mapping[str, str] = {}
    public_hostname = ""
    for interface in interfaces:
        message = of_interface(tx, interface, list(groups[interface.id]), region, parts.belongings.get(interface.id))
        if (bandwidth := _bandwidth(tx, instance, interfaces[0].vpc_id)) is not None:
            message.bandwidth.CopyFrom(bandwidth)
        if interface.device_index == 0:
            primary = groups[interface.id]
            public_hostname = message.public_dns_name
            if instance.hostname_type == "resource-name":
                message.host_name = resource_name(instance.id, region)
        messages[pb.KIND_INTERFACE, interface.id] = message
    kept = _firmware(tx, instance)
    messages[pb.KIND_MACHINE, instance.id] = pb.Machine(
        power=pb.POWER_RUNNING if instance.state in _RUNNING_STATES else pb.POWER_STOPPED,
        start_count=instance.start_count,
        reboot_count=instance.reboot_count,
        force_stop=instance.force_stop,
        hasten_stop=instance.hasten_stop,
        hibernate=instance.hibernate_stop,
        vcpus=instance.vcpus,
        threads_per_core=instance.threads_per_core,
        cpu_credits=_cpu_credits(tx, instance),
        memory=instance.memory,
        disks=[
            *(pb.MachineDisk(volume_id=volume.id, device_name=volume.device_name or "") for volume in volumes),
            *_scratch_disks(tx, instance),
        ],
        interfaces=[
            pb.MachineInterface(
                interface_id=interface.id,
                device_index=interface.device_index or 0,
                security_groups=sorted(groups[interface.id].values()),
            )
            for interface in interfaces
        ],
        metadata=_metadata(tx, instance, sorted(primary.values()), public_hostname, region),
        architecture=instance.architecture,
        boot_mode=boot_modes.CURRENT[instance.boot_mode],
        uefi_variables=instance.uefi_data or b"",
        tpm=pb.Tpm(encryption_key=instance.sealed_tpm_key) if instance.sealed_tpm_key else None,
        devices=_devices(tx, instance),
        pinning=_pinning(tx, instance),
        volumes_limit=_volumes_limit(tx, instance),
        stores_since=instance.stores_since,
        firmware_kept=kept.start_count if kept is not None else 0,
        firmware=pb.FirmwareState(start_count=kept.start_count, variables=kept.variables, tpm=kept.tpm)
        if kept is not None and kept.is_moved
        else None,
        record=_record(tx, instance, parts.tags),
    )
    return messages


def _ask(tx: Transaction, instance: Instance, parts: Parts) -> None:
    """Let the database answer at once what will be asked of an instance and its interfaces, and is not known."""
    interfaces = [each for each in parts.interfaces if each.id not in parts.belongings]
    ask(
        tx.connection,
        *([(_TAGS, {"resource_id": instance.id})] if parts.tags is None else ()),
        *((_GROUPS, {"interface_id": each.id}) for each in interfaces),
        *(question for each in interfaces for question in of_interface_asked(each)),
    )


def _record(tx: Transaction, instance: Instance, tags: Mapping[str, str] | None) -> pb.MachineRecord:
    if tags is None:
        tags = dict(_TAGS.all(tx.connection, {"resource_id": instance.id}))
    return pb.MachineRecord(
        tags=tags,
        shutdown_behavior=instance.shutdown_behavior,
        disable_api_termination=instance.disable_api_termination,
        disable_api_stop=instance.disable_api_stop,
    )


def _firmware(tx: Transaction, instance: Instance) -> InstanceFirmware | None:
    if boot_modes.CURRENT[instance.boot_mode] != boot_modes.UEFI:
        return None
    return tx.session.get(InstanceFirmware, instance.id)


def _bandwidth(tx: Transaction, instance: Instance, vpc_id: str) -> pb.Bandwidth | None:
    """Return what its type promises of the network; None for a type that is not there any more."""
    kind = instance_types.find(tx, instance.instance_type)
    if kind is None:
        return None
    return pb.Bandwidth(baseline_mbps=kind.network_baseline_mbps, burst_mbps=kind.network_burst_mbps, vpc_id=vpc_id)


def _cpu_credits(tx: Transaction, instance: Instance) -> pb.CpuCredits | None:
    kind = instance_types.find(tx, instance.instance_type)
    if kind is None or kind.credits is None:
        return None
    return pb.CpuCredits(
        unlimited=instance.cpu_credits == cpu_credits.UNLIMITED,
        per_hour=round(1000 * kind.credits.per_hour),
        most=round(1000 * kind.credits.most),
        at_start=1000 * instance.launch_credits,
        saved_seconds=cpu_credits.saved_seconds(kind),
        saved=instance.saved_credits,
    )


def _volumes_limit(tx: Transaction, instance: Instance) -> pb.VolumesLimit | None:
    """Return what its type lets all its volumes together do; None for a type without such figures."""
    kind = instance_types.find(tx, instance.instance_type)
    if kind is None or kind.ebs is None:
        return None
    return pb.VolumesLimit(
        baseline_bytes=kind.ebs.baseline_mbps * _BYTES_PER_MEGABIT,
        most_bytes=kind.ebs.max_mbps * _BYTES_PER_MEGABIT,
        baseline_operations=kind.ebs.baseline_iops,
        most_operations=kind.ebs.max_iops,
        saved=pb.SavedForVolumes(bytes=instance.saved_ebs_bytes, operations=instance.saved_ebs_iops),
    )


def _devices(tx: Transaction, instance: Instance) -> list[str]:
    """Return the addresses of the PCI devices that an instance has; those of a type without any are not looked for."""
    kind = instance_types.find(tx, instance.instance_type)
    if kind is not None and not kind.devices:
        return []
    query = select(HostDevice.address).where(HostDevice.instance_id == instance.id)
    return list(tx.session.scalars(query.order_by(HostDevice.address)))


def _pinning(tx: Transaction, instance: Instance) -> pb.Pinning | None:
    """Return the threads that an instance has alone now; None for one that shares them, or is not to run."""
    kind = instance_types.find(tx, instance.instance_type)
    if kind is None or not kind.whole_cores:
        return None
    query = select(HostCore).where(HostCore.instance_id == instance.id).order_by(HostCore.number)
    cores = tx.session.scalars(query).all()
    if not cores:
        return None
    threads = [thread for core in cores for thread in core.threads[: instance.threads_per_core]]
    return pb.Pinning(threads=threads, numa_node=cores[0].numa_node, huge_pages=kind.huge_pages)


def _scratch_disks(tx: Transaction, instance: Instance) -> list[pb.MachineDisk]:
    kind = instance_types.find(tx, instance.instance_type)
    if kind is not None and kind.instance_store is None:
        return []
    query = select(InstanceStoreDisk).where(InstanceStoreDisk.instance_id == instance.id)
    return [
        pb.MachineDisk(
            device_name=disk.device_name,
            instance_store=pb.InstanceStoreDisk(
                index=disk.number, size=disk.size, virtual_name=f"ephemeral{disk.number}"
            ),
        )
        for disk in tx.session.scalars(query.order_by(InstanceStoreDisk.number))
    ]


def _groups(tx: Transaction, interface_id: str, parts: Parts) -> Mapping[str, str]:
    """Return the names of an interface's groups by their ids."""
    if interface_id in parts.belongings:
        return parts.belongings[interface_id].groups
    return dict(_GROUPS.all(tx.connection, {"interface_id": interface_id}))


def _events(tx: Transaction, instance: Instance) -> list[pb.MaintenanceEvent]:
    """Return the scheduled events of an instance; for one without any they are not looked for."""
    if not instance.has_events:
        return []
    query = select(InstanceEvent).where(InstanceEvent.instance_id == instance.id)
    return [
        pb.MaintenanceEvent(
            id=event.id,
            code=event.code,
            description=event.description,
            state=event.state,
            not_before=int(event.not_before.timestamp()),
        )
        for event in tx.session.scalars(query.order_by(InstanceEvent.not_before, InstanceEvent.id))
    ]


def _metadata(
    tx: Transaction, instance: Instance, group_names: list[str], public_hostname: str, region: str
) -> pb.Metadata:
    tags: dict[str, str] = {}
    if instance.metadata_tags:
        tags = dict(tx.session.execute(select(Tag.key, Tag.value).where(Tag.resource_id == instance.id)).all())
    keys = []
    if instance.public_key is not None:
        keys.append(pb.PublicKey(name=instance.key_name or "", openssh=instance.public_key))
    return pb.Metadata(
        instance_id=instance.id,
        account_id=instance.account_id,
        reservation_id=instance.reservation_id,
        image_id=instance.image_id,
        instance_type=instance.instance_type,
        launch_index=instance.launch_index,
        pending_time=int(instance.launch_time.timestamp()),
        region=region,
        availability_zone=instance.zone,
        hostname=instance_name(instance.id, instance.private_address, instance.hostname_type, region),
        public_hostname=public_hostname,
        user_data=instance.user_data or b"",
        has_user_data=instance.user_data is not None,
        public_keys=keys,
        security_groups=group_names,
        options=pb.MetadataOptions(
            enabled=instance.metadata_enabled,
            tokens_required=instance.metadata_tokens_required,
            hop_limit=instance.metadata_hop_limit,
            instance_tags=instance.metadata_tags,
            protocol_ipv6=instance.metadata_ipv6,
        ),
        tags=tags,
        partition="aws",
        domain="amazonaws.com",
        private_address=instance.private_address or "",
        availability_zone_id=zone_id_of(tx, instance.zone),
        monitoring=instance.monitoring,
        measured_closely=bool(instance.measured_closely),
        target_lifecycle_state=instance.target_lifecycle_state or "",
        hibernation=instance.hibernation,
        events=_events(tx, instance),
        placement_group=instance.placement_group_name,
        partition_number=instance.partition_number or 0,
        dedicated_host_id=(instance.dedicated_host_id or "") if instance.tenancy == "host" else "",
        role=of_role(tx, instance),
        identity_credentials=of_session(instance),
        spot=instance.spot_request_id is not None,
        interruption_time=0 if instance.interruption is None else int(instance.interruption.timestamp()),
        ebs_at_start=None if instance.ebs_at_start is None else pb.DeviceNames(names=instance.ebs_at_start),
    )
