"""Translates the controller's resources for machines, volumes and metadata, and observations into statuses: pure."""

from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Final, Literal, cast

from stead_agent.credits.interface import Balance, Terms
from stead_agent.disks.bases import interface as bases
from stead_agent.disks.disk_sources import Layer, NbdSource, secret_uuid
from stead_agent.disks.exports import interface as exports
from stead_agent.disks.snapshots import interface as snapshots
from stead_agent.disks.volumes import interface as volumes
from stead_agent.machines import interface as machines
from stead_agent.metadata import interface as metadata
from stead_agent.network import interface as network
from stead_agent.network.ipv6 import link_local_of
from stead_agent.reachability import interface as reachability
from stead_agent.reconcile.translate_vpc import ipv4_addresses
from stead_proto import limits
from stead_proto.v1 import desired_pb2, host_pb2
from stead_proto.v1.desired_pb2 import Resource


class Untranslatable(Exception):
    """A resource holds something that this agent does not understand; the message is for the operator."""


_FORMATS: Final = {"qcow2", "raw"}
_BOOT_MODES: Final = {"legacy-bios", "uefi"}


def base_spec(resource: Resource) -> bases.BaseSpec:
    """Return a base as it must be fetched."""
    body = resource.base
    return bases.BaseSpec(
        resource.id, body.size, body.stored_size, encrypted=body.encrypted, encryption_key=body.encryption_key
    )


def snapshot_spec(resource: Resource) -> snapshots.SnapshotSpec:
    """Return a snapshot as it must be taken."""
    body = resource.snapshot
    return snapshots.SnapshotSpec(resource.id, body.volume_id, body.parent_id, body.encryption_key)


def quiet_disk(source: volumes.VolumeSource, encryption_key: bytes) -> snapshots.QuietDisk:
    """Return how to open a volume for reading while no guest has it in use."""
    return snapshots.QuietDisk(Layer(source.source, source.format), source.base, encryption_key)


def snapshot_status(progress: snapshots.SnapshotProgress) -> host_pb2.SnapshotStatus:
    """Return what is reported of a snapshot."""
    return host_pb2.SnapshotStatus(
        blocks=progress.blocks,
        blocks_done=progress.blocks_done,
        taken_at=progress.taken_at,
        complete=progress.complete,
        incremental=progress.incremental,
        lost=progress.lost,
    )


def brought_disk(source: NbdSource, generation: int) -> snapshots.QuietDisk:
    """Return how to open a volume of another host by its proxy, while no guest of this host has it in use."""
    return snapshots.QuietDisk(Layer(source, "raw"), None, generation=generation)


def volume_spec(resource: Resource) -> volumes.VolumeSpec:
    """Return the desired disk."""
    body = resource.volume
    return volumes.VolumeSpec(
        resource.id,
        body.size,
        body.base_id,
        body.pool,
        encrypted=body.encrypted,
        encryption_key=body.encryption_key,
        former_homes=tuple(body.former_home_ids),
        home_count=body.home_count,
    )


def volume_export(resource: Resource, source: volumes.VolumeSource) -> exports.Export:
    """Return a disk of this host as another host may use it."""
    body = resource.volume
    return exports.Export(
        volume_id=resource.id,
        generation=body.export.generation,
        client_host_id=body.export.client_host_id,
        client_enrolment=body.export.client_enrolment,
        client_former_enrolment=(
            body.export.client_former_enrolment if body.export.HasField("client_former_enrolment") else None
        ),
        port=body.export.port,
        disk=Layer(source.source, source.format),
        base=source.base,
        encryption_key=body.encryption_key,
    )


def remote_volume(resource: Resource) -> exports.Remote:
    """Return a disk of another host as a guest of this one uses it."""
    body = resource.volume.remote
    return exports.Remote(
        volume_id=resource.id,
        generation=body.generation,
        home_host_id=body.home_host_id,
        address=body.address,
        port=body.port,
        size=resource.volume.size,
    )


def disk_home(resource: Resource) -> machines.DiskHome:
    """Return where a guest of this host can reach the home of a volume directly."""
    body = resource.volume.remote
    return machines.DiskHome(resource.id, body.generation, body.home_host_id, body.address, body.port)


def machine_spec(
    resource: Resource, known: Mapping[str, Resource], sources: Mapping[str, volumes.VolumeSource]
) -> machines.MachineSpec:
    """Return the spec of a machine; `known` has its volumes and interfaces by id, `sources` how disks are opened.

    Disks without a source are left out. Those of the instance store have the id from `disk_id`.
    """
    body = resource.machine
    if body.boot_mode and body.boot_mode not in _BOOT_MODES:
        raise Untranslatable(f"boot mode {body.boot_mode!r}")
    nics = sorted(body.interfaces, key=lambda each: each.device_index)
    return machines.MachineSpec(
        id=resource.id,
        vcpus=body.vcpus,
        memory=body.memory,
        threads_per_core=body.threads_per_core or 1,
        disks=tuple(
            _disk(name, known.get(name), sources[name])
            for name in (disk_id(resource.id, each) for each in body.disks)
            if name in sources
        ),
        nics=tuple(_nic(known[each.interface_id]) for each in nics),
        architecture=body.architecture or "x86_64",
        boot_mode=cast("Literal['legacy-bios', 'uefi']", body.boot_mode or "legacy-bios"),
        instance_type=body.metadata.instance_type,
        devices=tuple(sorted(body.devices)),
        pinning=_pinning(body),
        joint=_joint(body),
        uefi_variables=body.uefi_variables,
        tpm=machines.Tpm(secret_uuid(f"tpm {resource.id}"), body.tpm.encryption_key) if body.HasField("tpm") else None,
    )


def _pinning(body: desired_pb2.Machine) -> machines.Pinning | None:
    if not body.HasField("pinning"):
        return None
    given = body.pinning
    return machines.Pinning(tuple(given.threads), given.numa_node, given.huge_pages)


def _joint(body: desired_pb2.Machine) -> machines.JointLimit | None:
    if not body.HasField("volumes_limit"):
        return None
    given = body.volumes_limit
    return machines.JointLimit(
        baseline_bytes=given.baseline_bytes,
        most_bytes=given.most_bytes,
        baseline_operations=given.baseline_operations,
        most_operations=given.most_operations,
        saved=machines.Saved(given.saved.bytes, given.saved.operations),
    )


def credit_terms(resource: Resource) -> Terms | None:
    """Return how a machine earns and spends CPU credits; None when it is not burstable."""
    body = resource.machine
    if not body.HasField("cpu_credits"):
        return None
    given = body.cpu_credits
    return Terms(
        vcpus=body.vcpus,
        per_hour=given.per_hour,
        most=given.most,
        unlimited=given.unlimited,
        at_start=given.at_start,
        saved_seconds=given.saved_seconds,
        saved=given.saved,
    )


def disk_id(machine_id: str, disk: desired_pb2.MachineDisk) -> str:
    """Return the id of a machine's disk: that of its volume, or one from its index in the instance store."""
    if disk.HasField("instance_store"):
        return machines.instance_store_id(machine_id, disk.instance_store.index)
    return disk.volume_id


def _disk(name: str, volume: Resource | None, source: volumes.VolumeSource) -> machines.Disk:
    """A disk as a guest sees it; an encrypted one of another host is decrypted there."""
    encrypted = volume is not None and volume.volume.encrypted and not volume.volume.HasField("remote")
    return machines.Disk(
        id=name,
        source=source.source,
        format=source.format,
        base=source.base,
        secret=secret_uuid(name) if encrypted else "",
        encryption_key=volume.volume.encryption_key if volume is not None else b"",
        iops=volume.volume.iops if volume is not None else 0,
        throughput=volume.volume.throughput * limits.MIB if volume is not None else 0,
    )


def _nic(resource: Resource) -> machines.Nic:
    return machines.Nic(
        interface_id=resource.id,
        mac_address=resource.interface.mac_address,
        bridge=network.bridge_name(resource.interface.subnet_id),
        tap=network.tap_name(resource.id),
    )


def guest(machine: Resource, known: Mapping[str, Resource]) -> metadata.Guest:
    """Return a guest's metadata; `known` has its interfaces and their subnets and VPCs, as far as they are known."""
    body = machine.machine
    words = body.metadata
    interfaces = []
    for attached in sorted(body.interfaces, key=lambda each: each.device_index):
        resource = known.get(attached.interface_id)
        if resource is not None:
            interfaces.append(_guest_interface(resource, attached, known))
    devices = [each.device_name for each in body.disks if not each.HasField("instance_store")]
    started_with = words.ebs_at_start.names if words.HasField("ebs_at_start") else devices[1:]
    stores = [each for each in body.disks if each.HasField("instance_store")]
    stores.sort(key=lambda each: each.instance_store.index)
    return metadata.Guest(
        instance_id=words.instance_id or machine.id,
        account_id=words.account_id,
        reservation_id=words.reservation_id,
        image_id=words.image_id,
        instance_type=words.instance_type,
        region=words.region,
        availability_zone=words.availability_zone,
        hostname=words.hostname,
        interfaces=tuple(interfaces),
        launch_index=words.launch_index,
        pending_time=words.pending_time,
        public_hostname=words.public_hostname,
        user_data=words.user_data if words.has_user_data else None,
        public_keys=tuple(metadata.PublicKey(each.name, each.openssh) for each in words.public_keys),
        security_groups=tuple(words.security_groups),
        root_device_name=devices[0] if devices else "/dev/sda1",
        ebs_device_names=tuple(started_with),
        ephemeral_device_names=tuple(each.device_name for each in stores),
        volumes={each.volume_id: each.device_name for each in body.disks if each.volume_id},
        tags=dict(words.tags),
        options=_options(words.options),
        identity=_identity(words.identity) if words.HasField("identity") else None,
        role=_role(words.role) if words.HasField("role") else None,
        identity_role=_identity_role(words.identity_credentials) if words.HasField("identity_credentials") else None,
        monitoring=words.monitoring,
        events=tuple(
            metadata.MaintenanceEvent(each.id, each.code, each.description, each.state, each.not_before)
            for each in words.events
        ),
        hibernation=words.hibernation,
        availability_zone_id=words.availability_zone_id,
        host_id=words.dedicated_host_id,
        placement_group=words.placement_group,
        partition_number=words.partition_number or None,
        spot=words.spot,
        interruption_time=words.interruption_time or None,
        target_lifecycle_state=words.target_lifecycle_state,
        partition=words.partition or "aws",
        domain=words.domain or "amazonaws.com",
    )


def _guest_interface(
    resource: Resource, attached: desired_pb2.MachineInterface, known: Mapping[str, Resource]
) -> metadata.GuestInterface:
    body = resource.interface
    subnet = known.get(body.subnet_id)
    vpc = known.get(body.vpc_id)
    return metadata.GuestInterface(
        interface_id=resource.id,
        mac_address=body.mac_address,
        device_index=attached.device_index,
        private_addresses=ipv4_addresses(body),
        private_dns_name=body.private_dns_name,
        subnet_id=body.subnet_id,
        subnet_cidr_block=subnet.subnet.cidr_block if subnet else "",
        vpc_id=body.vpc_id,
        vpc_cidr_blocks=tuple(vpc.vpc.cidr_blocks) if vpc else (),
        public_addresses=tuple(
            metadata.PublicAddress(each.public_address, each.private_address) for each in body.public_addresses
        ),
        public_dns_name=body.public_dns_name,
        security_groups=tuple(attached.security_groups),
        security_group_ids=tuple(body.security_group_ids),
        ipv6_addresses=tuple(body.ipv6_addresses),
        subnet_ipv6_cidr_block=subnet.subnet.ipv6_cidr_block if subnet else "",
        vpc_ipv6_cidr_blocks=tuple(vpc.vpc.ipv6_cidr_blocks) if vpc else (),
        link_local_address=link_local_of(body.mac_address) if body.ipv6_addresses else "",
    )


def _identity(message: desired_pb2.IdentityDocument) -> metadata.Identity:
    return metadata.Identity(message.document.decode(), _base64_lines(message.signature), _base64_lines(message.pkcs7))


def _role(message: desired_pb2.RoleCredentials) -> metadata.Role:
    return metadata.Role(
        profile_arn=message.profile_arn,
        profile_id=message.profile_id,
        name=message.role_name,
        code=message.code,
        updated=message.updated,
        expires=message.expires,
        access_key_id=message.access_key_id,
        secret_access_key=message.secret_access_key,
        session_token=message.session_token,
        without_token=_session_keys(message.without_token) if message.HasField("without_token") else None,
    )


def _session_keys(message: desired_pb2.SessionKeys) -> metadata.SessionKeys:
    return metadata.SessionKeys(message.access_key_id, message.secret_access_key, message.session_token)


def _identity_role(message: desired_pb2.IdentityCredentials) -> metadata.Role:
    return metadata.Role(
        profile_arn="",
        profile_id="",
        name="ec2-instance",
        updated=message.updated,
        expires=message.expires,
        access_key_id=message.access_key_id,
        secret_access_key=message.secret_access_key,
        session_token=message.session_token,
    )


def _base64_lines(content: bytes) -> str:
    """Write bytes as PEM does (RFC 7468, section 2): base64 in lines of 64 characters, without a newline at the end."""
    text = b64encode(content).decode("ascii")
    return "\n".join(text[start : start + 64] for start in range(0, len(text), 64))


def _options(options: desired_pb2.MetadataOptions) -> metadata.Options:
    return metadata.Options(
        http_endpoint=options.enabled,
        http_tokens_required=options.tokens_required,
        http_put_response_hop_limit=options.hop_limit or 1,
        instance_metadata_tags=options.instance_tags,
        http_protocol_ipv6=options.protocol_ipv6,
    )


_POWERS: Final = {
    machines.Power.OFF: host_pb2.MACHINE_POWER_OFF,
    machines.Power.RUNNING: host_pb2.MACHINE_POWER_RUNNING,
    machines.Power.STOPPING: host_pb2.MACHINE_POWER_STOPPING,
    machines.Power.PAUSED: host_pb2.MACHINE_POWER_PAUSED,
}
_OFF_REASONS: Final = {
    machines.OffReason.NONE: host_pb2.OFF_REASON_UNSPECIFIED,
    machines.OffReason.ASKED: host_pb2.OFF_REASON_ASKED,
    machines.OffReason.GUEST: host_pb2.OFF_REASON_GUEST,
    machines.OffReason.CRASHED: host_pb2.OFF_REASON_CRASHED,
    machines.OffReason.HOST: host_pb2.OFF_REASON_UNSPECIFIED,  # it is started again, so this is not an end
}


def asked_nic(machine: Resource, known: Mapping[str, Resource]) -> reachability.Nic | None:
    """Return the NIC by which a guest's reachability is checked, by IPv4 if it has that; None while it is unknown."""
    primary = next((each for each in machine.machine.interfaces if each.device_index == 0), None)
    interface = known.get(primary.interface_id) if primary is not None else None
    subnet = known.get(interface.interface.subnet_id) if interface is not None else None
    if interface is None or subnet is None:
        return None
    body = interface.interface
    if body.private_address:
        gateway, address = network.gateway_address(subnet.subnet.cidr_block), body.private_address
    elif body.ipv6_addresses:
        gateway, address = network.GATEWAY_LINK_LOCAL, body.ipv6_addresses[0]
    else:
        return None
    link = network.subnet_link_name(subnet.id)
    return reachability.Nic(body.vpc_id, link, network.GATEWAY_MAC, gateway, body.mac_address, address)


_ANSWERS: Final = {
    reachability.Answers.UNKNOWN: host_pb2.GUEST_ANSWERS_UNKNOWN,
    reachability.Answers.STARTING: host_pb2.GUEST_ANSWERS_STARTING,
    reachability.Answers.YES: host_pb2.GUEST_ANSWERS_YES,
    reachability.Answers.NO: host_pb2.GUEST_ANSWERS_NO,
}


def machine_status(
    status: machines.MachineStatus | None,
    found: reachability.Finding | None = None,
    balance: Balance | None = None,
    stored: machines.FirmwareState | None = None,
) -> host_pb2.MachineStatus | None:
    """Return what is reported of a machine, how it is reached, its CPU credits and what it has stored beside its disks.

    None while that is unknown.
    """
    if status is None:
        return host_pb2.MachineStatus(power=host_pb2.MACHINE_POWER_OFF)
    if status.power is machines.Power.UNKNOWN:
        return None
    off = status.power is machines.Power.OFF
    return host_pb2.MachineStatus(
        power=_POWERS[status.power],
        start_count=status.start_count,
        reboot_count=status.reboot_count,
        off_reason=_OFF_REASONS[status.off_reason] if off else host_pb2.OFF_REASON_UNSPECIFIED,
        volume_ids=sorted(status.volume_ids),
        answers=_ANSWERS[found.answers] if found is not None else host_pb2.GUEST_ANSWERS_UNSPECIFIED,
        silent_since=int(found.since) if found is not None else 0,
        cpu_credits=_balance(balance) if balance is not None else None,
        hibernated=status.hibernated,
        firmware=_firmware(stored, status.start_count) if stored is not None else None,
        saved_for_volumes=_saved(status.saved) if status.saved is not None else None,
        hung_since=status.hung_since,
        off_since=status.off_since,
        lost_since=status.lost_since,
        lost_until=status.lost_until,
    )


def _firmware(stored: machines.FirmwareState, start_count: int) -> desired_pb2.FirmwareState:
    return desired_pb2.FirmwareState(start_count=start_count, variables=stored.variables, tpm=stored.tpm)


def _saved(saved: machines.Saved) -> desired_pb2.SavedForVolumes:
    return desired_pb2.SavedForVolumes(bytes=saved.bytes, operations=saved.operations)


def last_words(balance: Balance) -> host_pb2.MachineStatus | None:
    """Return what is reported of a machine that is gone: the CPU credits for which it is charged, if there are any."""
    return host_pb2.MachineStatus(cpu_credits=_balance(balance)) if balance.charged else None


def _balance(balance: Balance) -> host_pb2.CpuCreditBalance:
    return host_pb2.CpuCreditBalance(
        credits=balance.credits,
        surplus=balance.surplus,
        spent=balance.spent,
        charged=balance.charged,
        made=balance.made,
    )


def storage_pools(pools: Iterable[volumes.PoolStatus]) -> list[host_pb2.StoragePool]:
    """Return what is reported of a host's storage pools."""
    return [
        host_pb2.StoragePool(
            name=each.name,
            backend=each.backend,
            total=each.capacity.total,
            free=each.capacity.free,
            volume_types=each.volume_types,
            is_default=each.is_default,
            shared_id=each.shared_id,
        )
        for each in pools
    ]
