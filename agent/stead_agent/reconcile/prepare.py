"""Prepares a unit's work with copies from the desired state; called on the event loop."""

import itertools
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

from stead_agent.desired import Store
from stead_agent.metadata.interface import Guest
from stead_agent.reconcile import translate, translate_vpc
from stead_agent.reconcile.disks import BaseWork, VolumeWork
from stead_agent.reconcile.drawn_vpc import Drawings
from stead_agent.reconcile.machine import MachineMemory, MachineWork
from stead_agent.reconcile.mappings import Mappings
from stead_agent.reconcile.metadata_guests import GuestBook
from stead_agent.reconcile.networks import HostNetworkWork, VpcWork
from stead_agent.reconcile.plan import VpcContents
from stead_agent.reconcile.reading import Reading
from stead_agent.reconcile.remote_volumes import RemoteVolumeWork
from stead_agent.reconcile.reports import Reports
from stead_agent.reconcile.schedule import ScheduledUnit
from stead_agent.reconcile.snapshot import SnapshotWork
from stead_agent.reconcile.subsystems import Subsystems
from stead_agent.reconcile.vpc_parts import PartsOfVpcs, VpcParts
from stead_agent.reconcile.work import Unmet, Work
from stead_agent.wanted import HOST_NETWORK, Held, Key, Tombstone, Wanted, needs_of, vpc_of
from stead_proto.v1 import desired_pb2, host_pb2
from stead_proto.v1.desired_pb2 import Resource

UNIT_KINDS = (
    desired_pb2.KIND_HOST_NETWORK,
    desired_pb2.KIND_VPC,
    desired_pb2.KIND_BASE,
    desired_pb2.KIND_VOLUME,
    desired_pb2.KIND_MACHINE,
    desired_pb2.KIND_SNAPSHOT,
)
"""The kinds that are units of their own, by priority; all others are parts of a VPC."""


@dataclass(frozen=True, slots=True)
class Habits:
    """The host's settings for the reconciler."""

    uplink: str = "none"
    reachable: translate_vpc.Reachable = field(default_factory=translate_vpc.Reachable)
    underlay_address: str = ""  # this host's end of all tunnels to other hosts
    vpc: translate_vpc.VpcSettings = field(default_factory=translate_vpc.VpcSettings)
    removal_grace_seconds: float = 5.0  # time for a guest to shut down when its machine is removed


def unit_of(key: Key, wanted: Wanted) -> Key | None:
    """Return the unit that a resource belongs to; None while the resource that it is a part of is unknown."""
    if key.kind in UNIT_KINDS:
        return key
    resource = wanted.known(key)
    vpc_id = vpc_of(resource) if resource is not None else None
    return Key(desired_pb2.KIND_VPC, vpc_id) if vpc_id else None


class Preparer:
    """Creates the work of a unit."""

    def __init__(
        self,
        *,
        wanted: Wanted,
        reports: Reports,
        parts: Subsystems,
        store: Store,
        habits: Habits,
        is_running: Callable[[Key], bool],
    ) -> None:
        self._wanted = wanted
        self._reports = reports
        self._parts = parts
        self._store = store
        self._habits = habits
        self._is_running = is_running
        self._book = GuestBook(parts.metadata)
        self._drawings = Drawings(parts.network.namespace_path)
        self._parts_of_vpcs = PartsOfVpcs()
        self._well: dict[str, VpcContents] = {}  # by VPC: parts that all were told to be ready
        self._mappings = Mappings()
        self._due: dict[str, dict[Key, None]] = {}  # by VPC: mappings that may have to be reported
        self._foreign_groups: dict[str, frozenset[str]] = {}  # by VPC: groups of other VPCs that its rules refer to
        self._machines: dict[str, MachineMemory] = {}
        self._leaving: dict[Key, float] = {}  # volumes to be removed by force, and since when
        self._reading: dict[Key, Reading] = {}  # of volumes that are served to guests of other hosts
        self._served: set[str] = set()
        self._vpc_settings = habits.vpc
        self._order = itertools.count(1)
        self.host_is_ready = False
        self.awaited: frozenset[str] | None = None  # hosts that have not joined that controller; None: not known yet
        self.confirmed_by = b""  # the authorities of the controller that has said what it wants; none has yet

    def prepare(self, scheduled: ScheduledUnit, now: float) -> Work:
        """Create the work of the unit that is next."""
        match scheduled.unit.kind:
            case desired_pb2.KIND_HOST_NETWORK:
                resource = self._wanted.resources.get(scheduled.unit)
                habits = self._habits
                return HostNetworkWork(
                    scheduled.unit,
                    resource,
                    habits.uplink,
                    habits.underlay_address,
                    habits.reachable,
                    translate_vpc.unclaimed_peers(self._wanted),
                    self._parts,
                )
            case desired_pb2.KIND_BASE:
                return self._base(scheduled.unit)
            case desired_pb2.KIND_SNAPSHOT:
                return self._snapshot(scheduled.unit)
            case desired_pb2.KIND_VOLUME:
                return self._volume(scheduled.unit, now)
            case desired_pb2.KIND_VPC:
                return self._vpc(scheduled.unit)
            case desired_pb2.KIND_MACHINE:
                return self._machine(scheduled, now)
            case _:
                raise AssertionError(scheduled.unit)

    def finished(self, work: Work, *, well: bool, gone: Iterable[Key]) -> bool:
        """Record what is known after a work besides the statuses; tell whether all VPCs must be reconciled."""
        before = self._vpc_settings
        if isinstance(work, HostNetworkWork) and well:
            self.host_is_ready = True
            # Guests get the MTU that reaches other hosts. Links keep theirs: a guest that does not know it yet may send
            # # larger packets, and learns it by ICMP.
            self._vpc_settings = replace(before, overlay_mtu=work.overlay_mtu)
        if isinstance(work, VpcWork):
            self._note_vpc(work, well=well)
        for key in gone:
            if key.kind == desired_pb2.KIND_VPC:
                self._served.discard(key.id)
                self._foreign_groups.pop(key.id, None)
                self._parts_of_vpcs.forget(key.id)
                self._well.pop(key.id, None)
            elif key.kind == desired_pb2.KIND_MACHINE:
                self._machines.pop(key.id, None)
            elif key.kind == desired_pb2.KIND_VOLUME:
                self._leaving.pop(key, None)
        return self._vpc_settings != before

    def _note_vpc(self, work: VpcWork, *, well: bool) -> None:
        if well and not work.unmet and work.resource is not None:
            self._served.add(work.unit.id)
        if work.is_well and not work.contents.leaves:
            self._well[work.unit.id] = work.contents
        else:
            self._well.pop(work.unit.id, None)
        due = {key: None for key in self._due.pop(work.unit.id, ()) if self._is_due(key)}
        if due:
            self._due[work.unit.id] = due

    def dependents(self, key: Key) -> AbstractSet[Key]:
        """List the other units that show or use data of a resource that has changed; of mappings see `follow`."""
        match key.kind:
            case desired_pb2.KIND_VPC:  # guests' metadata shows address blocks
                return self._guests_of(self._wanted.members(key.id)) | self._peers_of(key.id)
            case desired_pb2.KIND_SUBNET:
                vpc_id = vpc_of(resource) if (resource := self._wanted.known(key)) is not None else None
                return self._guests_of(
                    member
                    for member in self._wanted.members(vpc_id or "")
                    if member.kind == desired_pb2.KIND_INTERFACE
                    and (interface := self._wanted.known(member)) is not None
                    and interface.interface.subnet_id == key.id
                )
            case _:
                return self._wanted.users(key)

    def follow(self, places: Iterable[Key]) -> AbstractSet[Key]:
        """Note mappings that have changed or gone; list their VPCs, and those with rules that refer to their groups."""
        vpc_ids: set[str] = set()
        groups: set[str] = set()
        for key in places:
            resource = self._wanted.known(key)
            if resource is not None and (vpc_id := resource.mapping.vpc_id):
                vpc_ids.add(vpc_id)
                self._due.setdefault(vpc_id, {})[key] = None
            groups |= self._mappings.follow(key, self._wanted)
        vpc_ids.update(vpc_id for vpc_id, each in self._foreign_groups.items() if not groups.isdisjoint(each))
        return {Key(desired_pb2.KIND_VPC, vpc_id) for vpc_id in vpc_ids}

    def _guests_of(self, members: Iterable[Key]) -> set[Key]:
        return {user for member in members for user in self._wanted.users(member)}

    def _peers_of(self, vpc_id: str) -> set[Key]:
        """List the VPCs with a peering to this one: their routes depend on whether it is on this host."""
        return {
            Key(desired_pb2.KIND_VPC, resource.peering.peer_vpc_id)
            for member in self._wanted.members(vpc_id)
            if member.kind == desired_pb2.KIND_PEERING and (resource := self._wanted.known(member)) is not None
        }

    def unmet(self, keys: Iterable[Key]) -> Unmet:
        """Return which of these resources are not ready."""
        units: set[Key] = set()
        reasons: list[str] = []
        failed = False
        for key in keys:
            resource = self._wanted.resources.get(key)
            if resource is None:
                units.add(unit_of(key, self._wanted) or key)
                reasons.append(f"{key.id} is not known here")
                continue
            if self._reports.is_ready(key, resource.revision):
                continue
            units.add(unit_of(key, self._wanted) or key)
            last = self._reports.latest(key)
            if last and last.revision == resource.revision and last.condition == host_pb2.CONDITION_FAILED:
                failed = True
                reasons.append(f"{key.id}: {last.error}")
            else:
                reasons.append(f"waiting for {key.id}")
        return Unmet(frozenset(units), "; ".join(reasons), failed)

    def still_waits(self, work: Work, on: frozenset[Key]) -> bool:
        """Tell whether what a work waits for is unchanged since the work was prepared."""
        match work:
            case VpcWork():
                return not self.host_is_ready
            case MachineWork(resource=Resource() as resource):
                return self.unmet(needs_of(resource)) == work.unmet
            case VolumeWork(resource=Resource() as resource) if work.unmet:
                return self.unmet(needs_of(resource)) == work.unmet
            case VolumeWork(resource=resource) if resource is None or resource.volume.HasField("export"):
                return bool(self._wanted.holders(work.unit) or self._snapshots_of(work.unit))
            case VolumeWork() | RemoteVolumeWork() | SnapshotWork():
                return any(self._is_running(key) for key in on)
            case _:
                return any((stone := self._wanted.tombstones.get(key)) and not stone.done for key in on)

    def _base(self, unit: Key) -> Work:
        resource = self._wanted.resources.get(unit)
        overlays: frozenset[Key] = frozenset()
        if resource is None:
            buried = self._wanted.tombstones.items()
            overlays = frozenset(
                key
                for key, each in buried
                if not each.done and each.body is not None and each.body.volume.base_id == unit.id
            )
        return BaseWork(unit, resource, overlays, self._parts)

    def _volume(self, unit: Key, now: float) -> Work:
        resource = self._wanted.resources.get(unit)
        tombstone = self._wanted.tombstones.get(unit)
        if resource is None and tombstone is not None and tombstone.force:
            self._leaving.setdefault(unit, now)
        else:
            self._leaving.pop(unit, None)
        users = frozenset(Key(desired_pb2.KIND_MACHINE, each) for each in self._wanted.holders(unit))
        busy = frozenset(each for each in users if self._is_running(each))
        if resource is not None and resource.volume.HasField("remote"):
            return RemoteVolumeWork(unit, resource, users, busy, self._parts)
        by_former = unit in self._wanted.unclaimed or self._is_user_awaited(resource)
        return VolumeWork(
            unit=unit,
            resource=resource,
            unmet=self.unmet(needs_of(resource)) if resource is not None else Unmet(),
            users=users,
            busy=busy,
            snapshots=self._snapshots_of(unit),
            confirmed_by=self.confirmed_by if not by_former else b"",
            by_former=by_former,
            parts=self._parts,
            now=now,
            reading=self._reading_of(unit, resource),
            waits_since=self._leaving.get(unit),
        )

    def _reading_of(self, unit: Key, resource: Resource | None) -> Reading:
        """Return since when a volume is kept from a guest of another host; one that is not served there is not."""
        if resource is None or not resource.volume.HasField("export"):
            self._reading.pop(unit, None)
            return Reading()
        return self._reading.setdefault(unit, Reading())

    def _is_user_awaited(self, resource: Resource | None) -> bool:
        """Tell whether the host to which a volume is served may not have joined the controller of now."""
        if resource is None or not resource.volume.HasField("export"):
            return False
        return self.awaited is None or resource.volume.export.client_host_id in self.awaited

    def _snapshot(self, unit: Key) -> Work:
        resource = self._wanted.resources.get(unit)
        if resource is None:
            return SnapshotWork(unit, None, parts=self._parts)
        set_id = resource.snapshot.set_id
        group, absent, users, volumes = [], set(), {}, {}
        for volume_id in resource.snapshot.set_volume_ids if set_id else [resource.snapshot.volume_id]:
            volume = Key(desired_pb2.KIND_VOLUME, volume_id)
            candidates = (self._wanted.resources[key] for key in self._snapshots_of(volume))
            mine = [each for each in candidates if (each.snapshot.set_id == set_id if set_id else each is resource)]
            if mine:
                group.append(mine[0])
                users[volume_id] = frozenset(self._wanted.holders(volume))
                known = self._wanted.known(volume)
                if known is not None:
                    volumes[volume_id] = known
            elif volume in self._wanted.resources:
                absent.add(volume_id)
        machines = {Key(desired_pb2.KIND_MACHINE, each) for each in frozenset[str]().union(*users.values())}
        return SnapshotWork(
            unit=unit,
            resource=resource,
            group=tuple(group),
            absent=frozenset(absent),
            users=users,
            volumes=volumes,
            busy=frozenset(each for each in machines if self._is_running(each)),
            parts=self._parts,
        )

    def _to_snapshot(self, machine: Resource | None) -> frozenset[str]:
        """List the volumes of a machine with a desired snapshot of which nothing was reported yet."""
        volume_ids = {each.volume_id for each in machine.machine.disks} if machine is not None else set()
        return frozenset(
            volume_id
            for volume_id in volume_ids
            for key in self._snapshots_of(Key(desired_pb2.KIND_VOLUME, volume_id))
            if self._reports.latest(key) is None
        )

    def _snapshots_of(self, volume: Key) -> frozenset[Key]:
        """List the desired snapshots of a volume."""
        users = self._wanted.users(volume)
        return frozenset(each for each in users if each.kind == desired_pb2.KIND_SNAPSHOT)

    def _vpc(self, unit: Key) -> Work:
        parts = self._parts_of_vpcs.of(unit.id, self._wanted)
        open_mappings, gone_mappings = self._mappings_of(unit.id)
        return VpcWork(
            unit=unit,
            resource=self._wanted.known(unit),
            is_wanted=unit in self._wanted.resources,
            contents=parts.contents,
            gone=parts.contents.gone + gone_mappings,
            beyond=self._beyond(unit.id, parts),
            wanted_parts=parts.wanted,
            parts_are_told=self._are_told(unit, parts),
            open_mappings=open_mappings,
            unmet=Unmet() if self.host_is_ready else Unmet(frozenset({HOST_NETWORK}), "waiting for the host network"),
            guests=tuple(self._guests(parts.wanted)) if unit.id not in self._served else (),
            settings=self._vpc_settings,
            parts=self._parts,
            book=self._book,
            drawings=self._drawings,
        )

    def _mappings_of(self, vpc_id: str) -> tuple[tuple[tuple[Key, int], ...], tuple[Key, ...]]:
        """List the mappings of a VPC whose status is due, with their revisions, and those to be removed."""
        due = tuple(self._due.get(vpc_id, ()))
        resources = self._wanted.resources
        return (
            tuple((key, resources[key].revision) for key in due if key in resources),
            tuple(key for key in due if key not in resources),
        )

    def _is_due(self, mapping: Key) -> bool:
        """Tell whether a mapping must be reported: it was not, or as failed, which ends when its VPC is applied."""
        return mapping in self._reports.open_keys() or self._reports.is_failed(mapping)

    def _are_told(self, unit: Key, parts: VpcParts) -> bool:
        """Tell whether it was reported that a VPC and all its parts are ready: none was expected anew since then.

        A part with a new revision makes other contents; when all must be told again, so must the VPC.
        """
        return unit not in self._reports.open_keys() and self._well.get(unit.id) is parts.contents

    def _beyond(self, vpc_id: str, parts: VpcParts) -> translate_vpc.Beyond:
        """Collect what a VPC needs besides its parts: its interfaces on other hosts, groups' members, its peers."""
        peers = frozenset(
            peer
            for each in parts.contents.peerings
            if Key(desired_pb2.KIND_VPC, peer := each.peering.peer_vpc_id) in self._wanted.resources
        )
        if parts.foreign:
            self._foreign_groups[vpc_id] = parts.foreign
        else:
            self._foreign_groups.pop(vpc_id, None)
        return translate_vpc.Beyond(
            remotes=self._mappings.remotes(vpc_id, parts.local),
            routers=self._mappings.routers(vpc_id, parts.local),
            members={group_id: self._mappings.members(group_id, (vpc_id, *peers)) for group_id in parts.referred},
            names=self._mappings.names(vpc_id, parts.local),
            peers=peers,
        )

    def _guests(self, parts: Iterable[Key]) -> Iterable[tuple[int, Guest]]:
        machines = {user for key in parts for user in self._wanted.users(key)}
        for user in sorted(machines):
            machine = self._wanted.resources[user]
            yield next(self._order), translate.guest(machine, self._known_to(machine))

    def _machine(self, scheduled: ScheduledUnit, now: float) -> Work:
        unit = scheduled.unit
        resource = self._wanted.resources.get(unit)
        tombstone = self._wanted.tombstones.get(unit)
        held = self._wanted.held(unit.id)
        may_hold = held
        if resource is not None:
            may_hold |= Held(
                frozenset(each.volume_id for each in resource.machine.disks if each.volume_id),
                frozenset(each.interface_id for each in resource.machine.interfaces),
            )
            self._wanted.hold(unit.id, may_hold)
        return MachineWork(
            unit=unit,
            resource=resource,
            force=tombstone is not None and tombstone.force,
            grace_seconds=self._habits.removal_grace_seconds,
            now=now,
            look_only=scheduled.look_only,
            unmet=self.unmet(needs_of(resource)) if resource is not None else Unmet(),
            known=self._known_to(resource) if resource is not None else {},
            order=next(self._order),
            to_snapshot=self._to_snapshot(resource),
            has_store=_has_store(resource, tombstone),
            held=held,
            may_hold=may_hold,
            memory=self._machines.setdefault(unit.id, MachineMemory()),
            parts=self._parts,
            store=self._store,
            book=self._book,
        )

    def _known_to(self, machine: Resource) -> dict[str, Resource]:
        """Collect a machine's volumes and interfaces, and the subnets and VPCs of those, as far as they are known."""
        known: dict[str, Resource] = {}
        for key in needs_of(machine):
            resource = self._wanted.resources.get(key)
            if resource is None:
                continue
            known[key.id] = resource
            if key.kind == desired_pb2.KIND_INTERFACE:
                for base in (
                    Key(desired_pb2.KIND_SUBNET, resource.interface.subnet_id),
                    Key(desired_pb2.KIND_VPC, resource.interface.vpc_id),
                ):
                    if base in self._wanted.resources:
                        known[base.id] = self._wanted.resources[base]
        return known


def _has_store(resource: Resource | None, tombstone: Tombstone | None) -> bool:
    """Tell whether a machine may have an instance store; for a stray this is unknown."""
    body = resource if resource is not None else tombstone.body if tombstone is not None else None
    return body is None or any(each.HasField("instance_store") for each in body.machine.disks)
