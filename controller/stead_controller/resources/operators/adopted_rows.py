"""Makes rows of what a host says of a machine, an interface or a volume that this older database does not know; pure.

It is the inverse of `desired/messages/`, as far as a host can know. What it cannot is as for a new resource.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from stead_controller.catalog import cpu_credits, ids
from stead_controller.db.insert import new_row
from stead_controller.db.tables import (
    Host,
    Instance,
    InstanceStoreDisk,
    NetworkInterface,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    Tag,
    Volume,
)
from stead_proto.v1 import desired_pb2 as pb

GIB: Final = 1 << 30
OF_AWS: Final = "aws:"
"""How the keys of tags begin that no user can set."""

_WITH_IOPS: Final = ("gp2", "gp3", "io1", "io2")
_TICK: Final = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an adopted instance is: its host, its primary interface's subnet, its new reservation and its names."""

    host_id: str
    subnet: Subnet
    reservation_id: str
    names: Mapping[str, Any]


def instance(instance_id: str, machine: pb.Machine, place: Place, now: datetime) -> Instance:
    """Make the row of an instance; it is about to run, or to stop."""
    words = machine.metadata
    runs = machine.power == pb.POWER_RUNNING
    key = words.public_keys[0] if words.public_keys else None
    saved = machine.volumes_limit.saved
    return new_row(
        Instance,
        id=instance_id,
        account_id=words.account_id,
        reservation_id=place.reservation_id,
        image_id=words.image_id,
        instance_type=words.instance_type,
        vcpus=machine.vcpus,
        threads_per_core=machine.threads_per_core or 1,
        cpu_credits=cpu_credits.UNLIMITED if machine.cpu_credits.unlimited else cpu_credits.STANDARD,
        launch_credits=machine.cpu_credits.at_start // 1000,
        saved_credits=machine.cpu_credits.saved,
        saved_ebs_bytes=saved.bytes if machine.HasField("volumes_limit") else 1000,
        saved_ebs_iops=saved.operations if machine.HasField("volumes_limit") else 1000,
        memory=machine.memory,
        architecture=machine.architecture,
        boot_mode=machine.boot_mode,
        uefi_data=machine.uefi_variables or None,
        sealed_tpm_key=machine.tpm.sealed_key or None,
        state="pending" if runs else "stopping",
        state_changed=now,
        host_id=place.host_id,
        zone=place.subnet.zone,
        vpc_id=place.subnet.vpc_id,
        subnet_id=place.subnet.id,
        private_address=words.private_address or None,
        key_name=key.name or None if key is not None else None,
        public_key=key.openssh if key is not None else None,
        launch_time=_moment(words.pending_time, now),
        launch_index=words.launch_index,
        user_data=words.user_data if words.has_user_data else None,
        identity_issued=_moment(words.identity_credentials.updated, now) if runs else None,
        root_device_name=machine.disks[0].device_name,
        shutdown_behavior=machine.record.shutdown_behavior or "stop",
        disable_api_termination=machine.record.disable_api_termination,
        disable_api_stop=machine.record.disable_api_stop,
        monitoring=words.monitoring,
        metadata_enabled=words.options.enabled,
        metadata_tokens_required=words.options.tokens_required,
        metadata_hop_limit=words.options.hop_limit,
        metadata_tags=words.options.instance_tags,
        metadata_ipv6=words.options.protocol_ipv6,
        start_count=machine.start_count,
        stores_since=machine.stores_since,
        reboot_count=machine.reboot_count,
        reboots_done=machine.reboot_count,
        force_stop=machine.force_stop,
        hasten_stop=machine.hasten_stop,
        hibernation=words.hibernation,
        hibernate_stop=machine.hibernate,
        memory_saved=machine.hibernate and not runs,
        ebs_at_start=list(words.ebs_at_start.names) if words.HasField("ebs_at_start") else None,
        **place.names,
    )


def scratch_disks(instance_id: str, machine: pb.Machine) -> list[InstanceStoreDisk]:
    """Make the rows of a machine's instance store."""
    return [
        InstanceStoreDisk(
            instance_id=instance_id,
            number=disk.instance_store.index,
            device_name=disk.device_name,
            size=disk.instance_store.size,
        )
        for disk in machine.disks
        if disk.HasField("instance_store")
    ]


def tags(instance_id: str, machine: pb.Machine) -> list[Tag]:
    """Make the rows of an instance's tags; those that AWS's services set say what is no longer so."""
    known = machine.record.tags if machine.HasField("record") else machine.metadata.tags
    columns = {"resource_id": instance_id, "resource_type": "instance", "account_id": machine.metadata.account_id}
    return [
        new_row(Tag, key=key, value=value, **columns)
        for key, value in sorted(known.items())
        if not key.startswith(OF_AWS)
    ]


def interface(interface_id: str, found: pb.Interface, subnet: Subnet, now: datetime) -> NetworkInterface:
    """Make the row of an interface, attached to nothing yet."""
    return new_row(
        NetworkInterface,
        id=interface_id,
        account_id=subnet.account_id,
        vpc_id=subnet.vpc_id,
        subnet_id=subnet.id,
        zone=subnet.zone,
        description=found.record.description,
        mac_address=found.mac_address,
        private_address=found.private_address or None,
        source_dest_check=found.source_dest_check,
        status="available",
        created=now,
        associate_public_address=found.record.associate_public_address,
        tcp_established_timeout=found.tcp_established_timeout or None,
        udp_timeout=found.udp_timeout or None,
        udp_stream_timeout=found.udp_stream_timeout or None,
    )


def plug(row: NetworkInterface, owner: Instance, index: int, found: pb.Interface) -> None:
    """Attach an interface's row to its instance, as its host has them."""
    row.status = "in-use"
    row.host_id = owner.host_id
    row.instance_id = owner.id
    row.attachment_id = ids.new_id("network-interface-attachment")
    row.device_index = index
    row.attachment_state = "attached"
    row.attach_time = owner.launch_time
    row.delete_on_termination = found.record.delete_on_termination if found.HasField("record") else index == 0


def volume(volume_id: str, found: pb.Volume, account_id: str, home: Host, now: datetime) -> Volume:
    """Make the row of a volume at home on a host, attached to nothing yet."""
    return new_row(
        Volume,
        id=volume_id,
        account_id=account_id,
        zone=home.zone,
        host_id=home.id,
        size=found.size // GIB,
        volume_type=found.volume_type,
        iops=(found.iops or None) if found.volume_type in _WITH_IOPS else None,
        throughput=(found.throughput or None) if found.volume_type == "gp3" else None,
        encrypted=found.encrypted,
        sealed_key=found.sealed_key or None,
        kms_key_id=found.record.kms_key_id or None,
        snapshot_id=found.base_id or None,
        origin_id="" if found.home_count else None,
        state="available",
        created=_moment(found.record.created, now),
        pool=found.pool,
        former_homes=" ".join(found.former_home_ids),
        home_count=found.home_count,
        generation=found.export.generation,
    )


def attach(rows: Sequence[tuple[Volume, str]], owner: Instance, found: Iterable[pb.Volume]) -> None:
    """Attach volumes' rows to their instance, in this order; each comes with its device name, `found` is at home.

    The times are such that a host is sent the disks in the order that it has them in.
    """
    for (row, device), at, home in zip(rows, _times(rows, owner), found, strict=True):
        row.state = "in-use"
        row.instance_id = owner.id
        row.attached_host_id = owner.host_id
        row.device_name = device
        row.attachment_state = "attached"
        row.attach_time = at
        is_root = device == owner.root_device_name
        row.delete_on_termination = home.record.delete_on_termination if home.HasField("record") else is_root
        if home.HasField("export"):
            row.export_port = home.export.port
        row.generation = home.export.generation or max(row.generation, 1)


def _times(rows: Sequence[tuple[Volume, str]], owner: Instance) -> Iterator[datetime]:
    """Give each volume the time of the launch, or of its creation if that was later, and never an earlier one."""
    at, before = owner.launch_time, ("", "")
    for row, device in rows:
        later = max(at, row.created)
        name = (device, row.id)
        at = at + _TICK if later == at and name < before else later
        before = name
        yield at


def group(group_id: str, found: pb.SecurityGroup, account_id: str, now: datetime) -> SecurityGroup:
    """Make the row of a security group whose name its host knows."""
    description = "Adopted from a host; its own description is not known."
    return new_row(
        SecurityGroup,
        id=group_id,
        account_id=account_id,
        vpc_id=found.vpc_id,
        name=found.name,
        description=description,
        created=now,
    )


def rules(group_id: str, found: pb.SecurityGroup, account_id: str) -> list[SecurityGroupRule]:
    """Make the rows of a security group's rules."""
    return [_rule(group_id, each, account_id) for each in found.rules]


def _rule(group_id: str, found: pb.SecurityGroupRule, account_id: str) -> SecurityGroupRule:
    peer = found.WhichOneof("peer")
    return new_row(
        SecurityGroupRule,
        id=found.id,
        account_id=account_id,
        group_id=group_id,
        egress=found.egress,
        protocol=found.protocol,
        from_port=found.from_port,
        to_port=found.to_port,
        cidr_ipv4=found.cidr_ipv4 if peer == "cidr_ipv4" else None,
        cidr_ipv6=found.cidr_ipv6 if peer == "cidr_ipv6" else None,
        peer_group_id=found.group_id if peer == "group_id" else None,
        prefix_list_id=found.prefix_list.id if peer == "prefix_list" else None,
    )


def _moment(seconds: int, now: datetime) -> datetime:
    """Return a time that a host knows, and now for one that it does not know."""
    return min(datetime.fromtimestamp(seconds, UTC), now) if seconds > 0 else now
