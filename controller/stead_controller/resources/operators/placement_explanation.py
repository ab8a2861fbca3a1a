"""Why placement chooses a host for an instance, and why not the others, for the operator: nothing is reserved."""

from dataclasses import dataclass

from sqlalchemy import select

from stead_controller.db.tables import Host
from stead_controller.errors import InvalidParameter
from stead_controller.placement.choose_host import Refusal
from stead_controller.placement.need import Need
from stead_controller.placement.search import Terms
from stead_controller.request import instance_types
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.host_capacity import capacity
from stead_controller.resources.host_capacity.volume_homes import DiskNeed
from stead_controller.resources.instances.launch_volumes import scratch_size


@dataclass(frozen=True, slots=True)
class Launch:
    """A launch that might be: of a type, in a zone (empty: the first), with firmware and a volume of so many GiB."""

    instance_type: str
    zone: str = ""
    uefi: bool = False
    tpm: bool = False
    volume: int = 0


@dataclass(frozen=True, slots=True)
class JudgedHost:
    """A host, its free capacity (bytes of memory), and why an instance must not be placed on it; if empty, it may."""

    host_id: str
    hostname: str
    zone: str
    vcpus_free: int
    memory_free: int
    refusals: tuple[Refusal, ...]


def judge_hosts(tx: Transaction, cloud: Cloud, launch: Launch) -> list[JudgedHost]:
    """Judge all hosts for a launch, the one that would be chosen first; raises InvalidParameter."""
    kind = instance_types.find(tx, launch.instance_type)
    if kind is None:
        raise InvalidParameter(f"'{launch.instance_type}' is no instance type of this cloud")
    zone = launch.zone or cloud.zones[0]
    if zone not in cloud.zones:
        raise InvalidParameter(f"'{zone}' is no zone of this cloud: {', '.join(cloud.zones)}")
    stores = scratch_size(kind) * (kind.instance_store.count if kind.instance_store is not None else 0)
    need = Need(kind.vcpus, kind.memory, kind.architecture, stores, uefi=launch.uefi or launch.tpm, tpm=launch.tpm)
    disks = [DiskNeed(launch.volume, "gp3")] if launch.volume else []
    search = capacity.search_for(cloud, need, zone, disks, Terms(kind.name))
    names = {row[0]: row[1] for row in tx.session.execute(select(Host.id, Host.hostname))}
    return [
        JudgedHost(room.host_id, names[room.host_id], room.zone, room.cpus_free, room.memory_free, refusals)
        for room, refusals in capacity.judge(tx, cloud, search)
    ]
