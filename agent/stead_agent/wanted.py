"""The desired state of this host in memory: resources, tombstones of those to be removed, and their dependencies.

Changed and read on the event loop only. What a worker thread needs is copied out for it (`plan.py`'s tasks).
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from stead_proto.v1 import desired_pb2
from stead_proto.v1.desired_pb2 import Kind, Removal, Resource
from stead_proto.v1.host_pb2 import DesiredState


class Key(NamedTuple):
    """The key of a resource: its `Kind` and its id."""

    kind: "Kind.ValueType"
    id: str

    def __str__(self) -> str:
        """Return the id alone: its prefix names the kind already."""
        return self.id


HOST_NETWORK: Final = Key(desired_pb2.KIND_HOST_NETWORK, "host-network")

_BODY_KINDS: Final = {
    field.name: Kind.Value(f"KIND_{field.name.upper()}") for field in Resource.DESCRIPTOR.oneofs_by_name["body"].fields
}
# Bodies with the id of the VPC that they belong to; a VPC's own id is that of its resource.
_PARTS: Final = frozenset(
    field.name
    for field in Resource.DESCRIPTOR.oneofs_by_name["body"].fields
    if field.message_type is not None and "vpc_id" in field.message_type.fields_by_name
)

_RETAINED_KINDS: Final = frozenset({desired_pb2.KIND_HOST_NETWORK, desired_pb2.KIND_BASE, desired_pb2.KIND_VOLUME})

SHARED_KINDS: Final = frozenset(
    {
        desired_pb2.KIND_SUBNET,
        desired_pb2.KIND_SECURITY_GROUP,
        desired_pb2.KIND_ROUTE_TABLE,
        desired_pb2.KIND_NETWORK_ACL,
        desired_pb2.KIND_PEERING,
        desired_pb2.KIND_MAPPING,
        desired_pb2.KIND_FLOW_LOG,
        desired_pb2.KIND_VPC_ENDPOINT,
    }
)
"""Parts of a VPC that are the same on all its hosts: only their failures are reported to the controller."""


def key_of(resource: Resource) -> Key | None:
    """Return the key of a resource, or None when it is of a kind that only newer agents know."""
    body = resource.WhichOneof("body")
    return Key(_BODY_KINDS[body], resource.id) if body else None


def vpc_of(resource: Resource) -> str | None:
    """Return the id of the VPC that a resource belongs to; None if it belongs to none."""
    body = resource.WhichOneof("body")
    return getattr(resource, body).vpc_id if body in _PARTS else None


def needs_of(resource: Resource) -> Iterator[Key]:
    """List what a resource depends on: the disks of a machine, the base of a disk and so on."""
    match resource.WhichOneof("body"):
        case "volume":
            if resource.volume.base_id:
                yield Key(desired_pb2.KIND_BASE, resource.volume.base_id)
        case "snapshot":
            yield Key(desired_pb2.KIND_VOLUME, resource.snapshot.volume_id)
        case "machine":
            for disk in resource.machine.disks:
                if disk.volume_id:  # an instance store disk is created at the machine's start
                    yield Key(desired_pb2.KIND_VOLUME, disk.volume_id)
            for interface in resource.machine.interfaces:
                yield Key(desired_pb2.KIND_INTERFACE, interface.interface_id)
        case _:
            return


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A resource to be removed, as last desired; stored until nothing of it is left and the controller knows that."""

    key: Key
    revision: int
    force: bool
    body: Resource | None = None
    done: bool = False


@dataclass(frozen=True, slots=True)
class Held:
    """What a guest may have in use: all that it was started with or that was attached since."""

    volumes: frozenset[str] = frozenset()
    interfaces: frozenset[str] = frozenset()

    def __or__(self, other: "Held") -> "Held":
        """Join both."""
        return Held(self.volumes | other.volumes, self.interfaces | other.interfaces)

    def __bool__(self) -> bool:
        """Tell whether anything is held."""
        return bool(self.volumes or self.interfaces)

    def __iter__(self) -> Iterator[Key]:
        """List the keys of all that is held."""
        for volume_id in self.volumes:
            yield Key(desired_pb2.KIND_VOLUME, volume_id)
        for interface_id in self.interfaces:
            yield Key(desired_pb2.KIND_INTERFACE, interface_id)


@dataclass(frozen=True, slots=True)
class Change:
    """The change of the desired state that a message from the controller makes."""

    revision: int
    epoch: str
    full: bool
    recounts: bool = False  # revisions are counted in another database from here on
    put: tuple[Resource, ...] = ()
    buried: tuple[Tombstone, ...] = ()
    forgotten: tuple[Key, ...] = ()  # tombstones
    unknown: tuple[str, ...] = ()  # ids of resources of a kind that this agent does not know
    unclaimed: frozenset[Key] | None = None  # all that an older database does not know; None: unchanged
    patient: bool = False  # nobody waits until it is done

    def leaves_partial(self, before: bool) -> bool:
        """Tell whether, after this change, the desired state has resources of a kind that this agent does not know."""
        return bool(self.unknown) or (before and not self.full)

    @property
    def touched(self) -> frozenset[Key]:
        """The keys whose resources must be reconciled again."""
        put = (key_of(resource) for resource in self.put)
        return frozenset([key for key in put if key] + [each.key for each in self.buried])


class OtherEpochError(Exception):
    """A delta counts revisions in another database of the controller than our state does: a full state is needed."""


class Wanted:
    """The desired state: its revision, resources, tombstones, what guests hold, and indexes over them."""

    def __init__(self) -> None:
        self.revision = 0
        self.epoch = ""
        self.is_partial = False  # a resource was sent whose kind only newer agents know
        self.unclaimed: frozenset[Key] = frozenset()  # desired once, and unknown to the controller's older database
        self.resources: dict[Key, Resource] = {}
        self.tombstones: dict[Key, Tombstone] = {}
        self._held: dict[str, Held] = {}
        self._holders: dict[Key, set[str]] = {}
        self._users: dict[Key, set[Key]] = {}
        self._members: dict[str, set[Key]] = {}  # parts of VPCs, without mappings
        self._by_kind: dict[int, dict[Key, Resource]] = {}  # of `resources`, without mappings
        self._stamps: dict[str, int] = {}  # by VPC: the number of the last change of its parts
        self._changes = itertools.count(1)

    # -- reading

    def known(self, key: Key) -> Resource | None:
        """Return the resource as desired or, while it is being removed, as it was."""
        resource = self.resources.get(key)
        if resource is None and (tombstone := self.tombstones.get(key)):
            return tombstone.body
        return resource

    def of_kind(self, kind: "Kind.ValueType") -> Mapping[Key, Resource]:
        """Return the desired resources of a kind; not of mappings, of which there may be thousands."""
        assert kind != desired_pb2.KIND_MAPPING
        return self._by_kind.get(kind, {})

    def members(self, vpc_id: str) -> frozenset[Key]:
        """List the parts of a VPC, desired or being removed, without its mappings."""
        return frozenset(self._members.get(vpc_id, ()))

    def stamp(self, vpc_id: str) -> int:
        """Return a number that no other state of a VPC's parts had; 0 when it has none. Mappings do not count."""
        return self._stamps.get(vpc_id, 0)

    def users(self, key: Key) -> frozenset[Key]:
        """List the desired resources that depend on this one."""
        return frozenset(self._users.get(key, ()))

    def holders(self, key: Key) -> frozenset[str]:
        """List the machines that may have this volume or interface in use."""
        return frozenset(self._holders.get(key, ()))

    def held(self, machine_id: str) -> Held:
        """Return what a machine may have in use."""
        return self._held.get(machine_id, Held())

    def holding_machines(self) -> frozenset[str]:
        """List the machines that may have something in use."""
        return frozenset(self._held)

    # -- changing

    def install(self, change: Change) -> None:
        """Apply a change."""
        for key in change.forgotten:
            self._drop_tombstone(key)
        for tombstone in change.buried:
            self._bury(tombstone)
        for resource in change.put:
            self._put(resource)
        self.revision = change.revision
        self.epoch = change.epoch
        self.is_partial = change.leaves_partial(self.is_partial)
        if change.unclaimed is not None:
            self.unclaimed = change.unclaimed

    def mark_done(self, key: Key) -> None:
        """Record that nothing is left of a resource with a tombstone."""
        if tombstone := self.tombstones.get(key):
            self.tombstones[key] = replace(tombstone, done=True, body=None)
            self._unlink_member(key, tombstone.body)

    def forget(self, keys: Iterable[Key]) -> None:
        """Drop tombstones."""
        for key in keys:
            self._drop_tombstone(key)

    def hold(self, machine_id: str, held: Held) -> None:
        """Record what a machine may have in use."""
        for key in self._held.pop(machine_id, Held()):
            _discard(self._holders, key, machine_id)
        if held:
            self._held[machine_id] = held
            for key in held:
                self._holders.setdefault(key, set()).add(machine_id)

    def _put(self, resource: Resource) -> None:
        key = key_of(resource)
        assert key is not None  # `change_of` drops all others
        self._drop_tombstone(key)
        self._drop_resource(key)
        self.resources[key] = resource
        if key.kind == desired_pb2.KIND_MAPPING:
            return
        self._by_kind.setdefault(key.kind, {})[key] = resource
        for need in needs_of(resource):
            self._users.setdefault(need, set()).add(key)
        if vpc_id := vpc_of(resource):
            self._link_member(key, vpc_id)

    def _bury(self, tombstone: Tombstone) -> None:
        self._drop_tombstone(tombstone.key)
        self._drop_resource(tombstone.key)
        self.tombstones[tombstone.key] = tombstone
        if tombstone.body and not tombstone.done and (vpc_id := vpc_of(tombstone.body)):
            self._link_member(tombstone.key, vpc_id)

    def _drop_resource(self, key: Key) -> None:
        resource = self.resources.pop(key, None)
        if resource is None:
            return
        if key.kind == desired_pb2.KIND_MAPPING:
            return
        del self._by_kind[key.kind][key]
        for need in needs_of(resource):
            _discard(self._users, need, key)
        self._unlink_member(key, resource)

    def _drop_tombstone(self, key: Key) -> None:
        tombstone = self.tombstones.pop(key, None)
        if tombstone is not None and key not in self.resources:
            self._unlink_member(key, tombstone.body)

    def _link_member(self, key: Key, vpc_id: str) -> None:
        if key.kind != desired_pb2.KIND_MAPPING:
            self._members.setdefault(vpc_id, set()).add(key)
            self._stamps[vpc_id] = next(self._changes)

    def _unlink_member(self, key: Key, resource: Resource | None) -> None:
        if key.kind == desired_pb2.KIND_MAPPING or resource is None or not (vpc_id := vpc_of(resource)):
            return
        _discard(self._members, vpc_id, key)
        if vpc_id in self._members:
            self._stamps[vpc_id] = next(self._changes)
        else:
            self._stamps.pop(vpc_id, None)


def _discard[K, V](index: dict[K, set[V]], key: K, value: V) -> None:
    """Remove a value from an index, and its set when that becomes empty."""
    values = index.get(key)
    if values is not None:
        values.discard(value)
        if not values:
            del index[key]


def change_of(wanted: Wanted, state: DesiredState, *, answers_hello: bool = False) -> Change | None:
    """Compute what a message from the controller changes; None when it is outdated. OtherEpochError: see there.

    Messages may be repeated or late. The revision decides: of the state first, then of each resource. Only the
    full state that answers our Hello may go back, after the controller's database was restored from a copy: resources
    that it does not name stay as unclaimed until a state names them or a removal ends them.
    """
    foreign = state.epoch != wanted.epoch
    if foreign and not state.full:
        raise OtherEpochError(f"a change of epoch {state.epoch!r} to a state of epoch {wanted.epoch!r}")
    if state.revision < wanted.revision and not foreign:
        if not (answers_hello and state.full):
            return None
        foreign = True
    older = state.full and (state.older or (foreign and wanted.revision > 0))
    foreign = foreign or older
    put, unknown = _puts(wanted, state, foreign=foreign)
    unnamed = _unnamed(wanted, state) if state.full else frozenset()
    unclaimed = unnamed if older else unnamed & wanted.unclaimed
    unclaimed -= _without_use(wanted, unclaimed)
    buried = _burials(wanted, state, unnamed - unclaimed, foreign=foreign)
    if not state.full and wanted.unclaimed:
        unclaimed = wanted.unclaimed - {key_of(each) for each in put} - {each.key for each in buried}
        useless = _without_use(wanted, unclaimed, after=buried)
        buried += tuple(Tombstone(key, state.revision, False, wanted.known(key)) for key in sorted(useless))
        unclaimed -= useless
    forgotten: tuple[Key, ...] = ()
    if state.full:
        named = {Key(removal.kind, removal.id) for removal in state.removals}
        forgotten = tuple(key for key, each in wanted.tombstones.items() if each.done and key not in named)
    still_unclaimed = unclaimed if unclaimed != wanted.unclaimed else None
    return Change(
        state.revision,
        state.epoch,
        state.full,
        foreign,
        put,
        buried,
        forgotten,
        unknown,
        still_unclaimed,
        patient=state.patient,
    )


def _without_use(
    wanted: Wanted, unclaimed: AbstractSet[Key], *, after: Iterable[Tombstone] | None = None
) -> frozenset[Key]:
    """List unclaimed VPCs and parts of VPCs in which no unclaimed interface is: they are of no use by themselves.

    After a full state these are all that are left; `after` some removals only those of which an interface or the VPC
    itself goes: what is still to be named comes in another message.
    """
    if not unclaimed:
        return frozenset()  # as ever but after a restore: nothing is looked through
    used = {_vpc(wanted, key) for key in unclaimed if key.kind == desired_pb2.KIND_INTERFACE}
    used |= {each.peering.peer_vpc_id for each in wanted.resources.values() if each.peering.vpc_id in used}
    parts = [key for key in unclaimed if key.kind in SHARED_KINDS or key.kind == desired_pb2.KIND_VPC]
    useless = frozenset(key for key in parts if _vpc(wanted, key) not in used)
    if after is None:
        return useless
    leave = {desired_pb2.KIND_VPC, desired_pb2.KIND_INTERFACE}
    left = {_vpc(wanted, each.key) for each in after if each.key.kind in leave}
    return frozenset(key for key in useless if _vpc(wanted, key) in left)


def _vpc(wanted: Wanted, key: Key) -> str | None:
    """Return the VPC that a resource is, or belongs to."""
    if key.kind == desired_pb2.KIND_VPC:
        return key.id
    resource = wanted.known(key)
    return vpc_of(resource) if resource is not None else None


def _puts(wanted: Wanted, state: DesiredState, *, foreign: bool) -> tuple[tuple[Resource, ...], tuple[str, ...]]:
    """List the resources that are new or newer than ours, and the ids of those of unknown kinds."""
    put, unknown = [], []
    for resource in state.resources:
        key = key_of(resource)
        if key is None:
            unknown.append(resource.id)
            continue
        present = wanted.resources.get(key)
        tombstone = wanted.tombstones.get(key)
        if present is not None and (foreign or state.full):
            news = resource != present
        elif present is not None:
            news = resource.revision > present.revision
        else:
            news = tombstone is None or foreign or resource.revision > tombstone.revision
        if news:
            put.append(resource)
    return tuple(put), tuple(unknown)


def _burials(wanted: Wanted, state: DesiredState, unnamed: AbstractSet[Key], *, foreign: bool) -> tuple[Tombstone, ...]:
    """List what is to be removed: what a removal names, and what a full state should name and does not.

    With another epoch of the database, removals that are not done continue: their revisions mean nothing there.
    """
    removals = list(state.removals)
    if state.full:
        going = {key for key, each in wanted.tombstones.items() if not each.done} if foreign else set()
        named = _named(state)
        removals += [
            Removal(kind=key.kind, id=key.id, revision=state.revision) for key in sorted(unnamed | (going - named))
        ]
    buried = []
    for removal in removals:
        key = Key(removal.kind, removal.id)
        present = wanted.resources.get(key)
        before = wanted.tombstones.get(key)
        if present is not None and present.revision > removal.revision and not foreign:
            continue
        force = removal.force or (before is not None and before.force)
        body = present if present is not None else before.body if before else None
        done = before is not None and before.done and present is None
        buried.append(Tombstone(key, removal.revision, force, body, done))
    return tuple(buried)


def _named(state: DesiredState) -> frozenset[Key]:
    """List the keys that a state names."""
    resources = (key_of(resource) for resource in state.resources)
    return frozenset([key for key in resources if key] + [Key(each.kind, each.id) for each in state.removals])


def _unnamed(wanted: Wanted, state: DesiredState) -> frozenset[Key]:
    """List what is desired and not named by a full state."""
    return frozenset(wanted.resources) - _named(state)


def after_removal(wanted: Wanted) -> DesiredState | None:
    """Return the desired state of a host that was removed from its cloud, as a full state; None when nothing changes.

    The cloud has terminated its guests and assigns their addresses to others, so guests and their networks are removed.
    The disks of volumes and their bases stay, so that they can be recovered: they are served to no other host.
    """
    retained = []
    for key, resource in wanted.resources.items():
        if key.kind not in _RETAINED_KINDS or (
            key.kind == desired_pb2.KIND_VOLUME and resource.volume.HasField("remote")
        ):
            continue
        stays = Resource.FromString(resource.SerializeToString())
        if key.kind == desired_pb2.KIND_VOLUME:
            stays.volume.ClearField("export")
        retained.append(stays)
    if retained == list(wanted.resources.values()):
        return None
    return DesiredState(revision=wanted.revision, epoch=wanted.epoch, full=True, resources=retained)
