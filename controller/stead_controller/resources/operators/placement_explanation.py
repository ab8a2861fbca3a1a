"""Why placement chooses a host for an instance, and why not the others, for the operator: nothing is reserved."""

from dataclasses import dataclass

from sqlalchemy import select

from stead_controller.catalog.instance_type import InstanceType
from stead_controller.db.tables import Host, PlacementGroup
from stead_controller.errors import InvalidParameter, NotFound
from stead_controller.placement.choose_host import Refusal
from stead_controller.placement.search import Terms
from stead_controller.request import instance_types
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.host_capacity import capacity
from stead_controller.resources.host_capacity.volume_homes import DiskNeed
from stead_controller.resources.instances import instance_groups, instance_needs
from stead_controller.resources.instances.cpu_options import CpuOptions
from stead_controller.resources.instances.instance_groups import ChosenGroup
from stead_controller.resources.instances.launch_volumes import scratch_size


@dataclass(frozen=True, slots=True)
class Launch:
    """A launch that might be: of a type, in a zone (empty: the first), with firmware and a volume of so many GiB.

    `group_id` is of the placement group of any account, `partition` one of its partitions, or None for any.
    """

    instance_type: str
    zone: str = ""
    uefi: bool = False
    tpm: bool = False
    volume: int = 0
    group_id: str = ""
    partition: int | None = None


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
    """Judge all hosts for a launch, the one that would be chosen first.

    Raises InvalidParameter, InvalidCombination, NotFound for the group.
    """
    kind = instance_types.find(tx, launch.instance_type)
    if kind is None:
        raise InvalidParameter(f"'{launch.instance_type}' is no instance type of this cloud")
    zone = launch.zone or cloud.zones[0]
    if zone not in cloud.zones:
        raise InvalidParameter(f"'{zone}' is no zone of this cloud: {', '.join(cloud.zones)}")
    stores = scratch_size(kind) * (kind.instance_store.count if kind.instance_store is not None else 0)
    uefi = launch.uefi or launch.tpm
    cpus = CpuOptions(kind.cores, kind.threads_per_core)
    need = instance_needs.need_of(kind, cpus, kind.memory, kind.architecture, stores, uefi=uefi, tpm=launch.tpm)
    disks = [DiskNeed(launch.volume, "gp3")] if launch.volume else []
    search = capacity.search_for(cloud, need, zone, disks, _terms(tx, launch, kind, zone))
    names = {row[0]: row[1] for row in tx.session.execute(select(Host.id, Host.hostname))}
    return [
        JudgedHost(room.host_id, names[room.host_id], room.zone, room.cpus_free, room.memory_free, refusals)
        for room, refusals in capacity.judge(tx, cloud, search)
    ]


def _terms(tx: Transaction, launch: Launch, kind: InstanceType, zone: str) -> Terms:
    if not launch.group_id:
        return Terms(kind.name)
    group = tx.session.get(PlacementGroup, launch.group_id)
    if group is None:
        raise NotFound("placement-group", launch.group_id)
    instance_groups.check_partition(group, launch.partition)
    found = instance_groups.neighbours(tx, ChosenGroup(group, launch.partition), zone)
    return Terms(kind.name, group=found.group(found.partitions()[0]))
