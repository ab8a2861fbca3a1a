"""Writes the facts that a host reports about itself to its row, with the capacity that it offers."""

import enum
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, select, update

from stead_controller.catalog import boot_modes
from stead_controller.db.prepared import Prepared
from stead_controller.db.session import Transaction
from stead_controller.db.tables import Host, NetworkInterface, RemovedHost, Volume
from stead_controller.desired import desired_state, host_networks, topics
from stead_controller.hosts import cores, devices, pools
from stead_controller.request.cloud import Cloud
from stead_controller.resources.host_capacity import offer
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb

_ADDRESS_LENGTH: Final = 45
_MODEL_LENGTH: Final = 128
_FEATURES_LENGTH: Final = 8192
_THREADS_LENGTH: Final = 256
_EMULATES_LENGTH: Final = 64
_MOST_NODES: Final = 256
_SESSIONS: Final = Prepared(select(Host.id, Host.session).where(Host.id.in_(bindparam("ids", expanding=True))))


class Taken(enum.Enum):
    """How this controller regards a host after its Hello."""

    UNKNOWN = "unknown"  # this database has no record of it: the database may be older than the host
    REMOVED = "removed"
    KNOWN = "known"
    FORMER = "former"  # by a certificate from before it enrolled again: somebody else may have that
    MOVED = "moved"  # its address for other hosts has changed


def renews(tx: Transaction, host_id: str, ends: datetime) -> str | None:
    """Note until when a host's next certificate is valid; return its enrolment, None where it is not of this cloud."""
    noted = update(Host).where(Host.id == host_id).values(certificate_ends=ends).returning(Host.enrolment)
    return tx.session.scalar(noted)


def note_enrolment(tx: Transaction, host: Host, enrolment: str) -> None:
    """Have the homes of the volumes that a host uses admit its certificates of this enrolment, too.

    Those of before are admitted until the host says that all that it runs has others (`settle_enrolment`): what reaches
    a volume by one of them could not connect again, and its guest would wait.
    """
    if host.former_enrolment is None:
        host.former_enrolment = host.enrolment
    host.enrolment = enrolment
    _send_used_volumes(tx, host)


def settle_enrolment(tx: Transaction, host_id: str) -> None:
    """Have the homes of the volumes that a host uses admit no certificate of before its last enrolment any more."""
    host = tx.session.get(Host, host_id)
    if host is not None and host.former_enrolment is not None:
        host.former_enrolment = None
        _send_used_volumes(tx, host)


def _send_used_volumes(tx: Transaction, host: Host) -> None:
    """Write the volumes of other hosts that a host uses, for their homes."""
    tx.session.flush()
    used = select(Volume).where(Volume.attached_host_id == host.id, Volume.export_port.is_not(None))
    for volume in tx.session.scalars(used).all():
        desired_state.refresh_volume(tx, volume)


def take_enrolment(tx: Transaction, host_id: str, begin: datetime, presented: str) -> bool:
    """Tell whether certificates of before a host's enrolment are admitted still.

    Notes by which enrolment a host has the certificate that it presents, valid from `begin`, if that is not known.

    The database may be a restored one, of before it, or have been an earlier release's since.
    """
    host = tx.session.get(Host, host_id)
    if host is not None and host.enrolment != presented:
        host.certified = begin
        note_enrolment(tx, host, presented)
    return host is not None and host.former_enrolment is not None


def sessions(tx: Transaction, host_ids: Collection[str]) -> dict[str, int]:
    """Return which of each host's streams, to whatever controller, is the present one."""
    return dict(_SESSIONS.all(tx.connection, {"ids": sorted(host_ids)}))


def take_facts(
    tx: Transaction, hellos: Sequence[tuple[str, pb.Hello]], cloud: Cloud, now: datetime, controller_id: str = ""
) -> list[Taken]:
    """Store the facts of hosts, by their ids, and that they are up, at this controller; return how each is regarded.

    All others must get the new address of one that MOVED (`host_networks`).
    """
    host_ids = {host_id for host_id, _ in hellos}
    hosts = {host.id: host for host in tx.session.scalars(select(Host).where(Host.id.in_(host_ids)))}
    with_network = host_networks.with_network(tx, host_ids)
    known = pools.of_hosts(tx, host_ids)
    known_devices = devices.of_hosts(tx, host_ids)
    known_cores = cores.of_hosts(tx, host_ids)
    for host_id, hello in hellos:
        if host_id in hosts:
            hosts[host_id].session += 1
            hosts[host_id].controller_id = controller_id or None
            pools.take(tx, host_id, hello.facts.pools, known[host_id])
            devices.take(tx, host_id, hello.facts.devices, known_devices[host_id])
            cores.take(tx, host_id, hello.facts.hardware.whole_cores, known_cores[host_id])
    removed = set(tx.session.scalars(select(RemovedHost.id).where(RemovedHost.id.in_(host_ids - hosts.keys()))))
    return [
        _take(tx, hosts[host_id], hello, cloud, now, has_network=host_id in with_network)
        if host_id in hosts
        else Taken.REMOVED
        if host_id in removed
        else Taken.UNKNOWN
        for host_id, hello in hellos
    ]


def _take(tx: Transaction, host: Host, hello: pb.Hello, cloud: Cloud, now: datetime, *, has_network: bool) -> Taken:
    facts = hello.facts
    host.hostname = facts.hostname or host.hostname
    host.architecture = facts.architecture or host.architecture
    host.emulates = " ".join(sorted(set(facts.emulates) - {host.architecture}))[:_EMULATES_LENGTH]
    host.virtualization = facts.virtualization
    host.accelerated = facts.virtualization == "kvm"
    host.virtualization_reason = facts.virtualization_reason[:1024]
    host.uefi = boot_modes.UEFI in facts.boot_modes
    host.tpm = facts.tpm
    host.lays_firmware = facts.lays_firmware
    host.agent_version = hello.agent_version[:32]
    host.simulated = facts.simulated
    host.cpus = facts.cpus
    _take_hardware(host, facts.hardware)
    host.memory = facts.memory
    offer.renew(host, cloud)
    host.state = "up"
    tx.makes_room = True
    host.last_seen = now
    moved = host.underlay_address != facts.underlay_address
    if moved:
        host.underlay_address = facts.underlay_address[:_ADDRESS_LENGTH]
        _send_interface_mappings(tx, host.id)
        _send_exported_volumes(tx, host.id)
    if moved or not has_network:
        host_networks.refresh(tx, host, cloud)
    return Taken.MOVED if moved else Taken.KNOWN


def _take_hardware(host: Host, hardware: pb.Hardware) -> None:
    """Write the processors and memory nodes of a host; nothing of those of an agent of an earlier release."""
    host.cores = hardware.cores
    host.cpu_model = hardware.cpu_model[:_MODEL_LENGTH]
    host.cpu_features = " ".join(hardware.cpu_features)[:_FEATURES_LENGTH]
    host.numa_nodes = [
        (node.number, node.threads[:_THREADS_LENGTH], node.memory) for node in hardware.numa_nodes[:_MOST_NODES]
    ]
    host.huge_pages = {
        str(node.number): node.huge_pages for node in hardware.numa_nodes[:_MOST_NODES] if node.huge_pages
    }


def _send_interface_mappings(tx: Transaction, host_id: str) -> None:
    """Write the mappings of the interfaces on a host whose address has changed, for all hosts of their VPCs."""
    query = select(NetworkInterface.id, NetworkInterface.vpc_id).where(NetworkInterface.host_id == host_id)
    for interface_id, vpc_id in tx.session.execute(query).all():
        topics.refresh_part(tx, desired.KIND_MAPPING, interface_id, vpc_id)


def _send_exported_volumes(tx: Transaction, host_id: str) -> None:
    """Write the volumes that a host whose address has changed exports, for the hosts that use them."""
    tx.session.flush()
    served = select(Volume).where(Volume.host_id == host_id, Volume.export_port.is_not(None))
    for volume in tx.session.scalars(served).all():
        desired_state.refresh_volume(tx, volume)
