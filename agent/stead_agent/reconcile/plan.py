"""Decides which steps lead from the observed to the desired state; changes nothing.

A machine's power is the delicate part. Each start number is started once: a guest that powered itself off stays off;
one that went down with its host is started again under the same number. A running guest is never started or stopped
because the agent was restarted.
"""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from stead_agent.machines.interface import MachineStatus, OffReason, Power
from stead_agent.wanted import Key
from stead_proto.v1 import desired_pb2
from stead_proto.v1.desired_pb2 import Machine, Resource


class Step(enum.Enum):
    """One action on a machine; several are taken in the order given."""

    PUT_METADATA = "put metadata"
    START = "start"
    UPDATE = "update"
    RESUME = "resume"
    REBOOT = "reboot"
    HIBERNATE = "hibernate"
    ASK_TO_STOP = "ask to stop"
    HASTEN_STOP = "hasten stop"
    PULL_PLUG = "pull plug"
    REMOVE = "remove"
    REMOVE_METADATA = "remove metadata"


class Then(enum.Enum):
    """The state of a machine after its steps."""

    SETTLED = "settled"  # as desired, or it has ended by itself, which is only reported
    WAITING_FOR_NEEDS = "waiting for what it needs"
    WAITING_FOR_END = "waiting for the guest's end"  # `machines` notifies us of it
    WAITING_FOR_GUEST = "waiting until the guest releases it"  # of a device; `machines` notifies us of it
    WAITING_FOR_SPACE = "waiting for room on its disks"  # an operator must free some
    WAITING_FOR_GRACE = "waiting for the end of the guest's grace"
    UNCERTAIN = "libvirt cannot tell"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class MachinePlan:
    """The steps, and the state after them."""

    steps: tuple[Step, ...]
    then: Then


@dataclass(frozen=True, slots=True)
class MachineView:
    """What is known when a machine is planned."""

    status: MachineStatus | None  # as observed; None: there is no machine
    needs_met: bool = True  # its disks and interfaces are ready
    up_to_date: bool = False  # the running guest is known to have all that it should have
    metadata_current: bool = False  # metadata serves its current data
    can_update: bool = False  # only disks are not ready: everything else can be attached and detached
    releasing: bool = False  # the guest was just asked to release a device
    has_room: bool = False  # a guest that is paused for lack of room has room again
    reboot_asked: bool = False  # the desired reboot was already requested
    can_hibernate: bool = True  # nothing has prevented it yet
    hastened: bool = False  # its stop was hastened before


def plan_machine(wanted: Machine, view: MachineView) -> MachinePlan:
    """Plan a machine that is desired."""
    status = view.status
    power = status.power if status else Power.OFF
    if power is Power.UNKNOWN:
        return MachinePlan((), Then.UNCERTAIN)
    if wanted.power == desired_pb2.POWER_STOPPED:
        return _plan_stopped(wanted, view)
    if wanted.power != desired_pb2.POWER_RUNNING:
        return MachinePlan((), Then.SETTLED)
    if status is None or power is Power.OFF:
        return _plan_off(wanted, view)
    if status.start_count < wanted.start_count:
        # An earlier start still runs: it must end first, when the next one can begin. One request to stop is enough.
        if power is Power.STOPPING:
            return MachinePlan((), Then.WAITING_FOR_END)
        if not view.needs_met:
            return MachinePlan((), Then.WAITING_FOR_NEEDS)
        return MachinePlan((Step.ASK_TO_STOP,), Then.WAITING_FOR_END)
    return _plan_running(wanted, view, status)


def _plan_off(wanted: Machine, view: MachineView) -> MachinePlan:
    """Start a guest that was not started under this number, or went down with the host."""
    status = view.status
    started = status is not None and status.start_count >= wanted.start_count > 0
    if status is not None and started and status.off_reason is not OffReason.HOST:
        steps = (Step.REBOOT,) if status.reboot_count < wanted.reboot_count else ()  # counts as done: it is off
        return MachinePlan(steps, Then.SETTLED)
    if not view.needs_met:
        return MachinePlan((), Then.WAITING_FOR_NEEDS)
    return MachinePlan((*_metadata(view), Step.START), Then.SETTLED)


def _metadata(view: MachineView) -> tuple[Step, ...]:
    return () if view.metadata_current else (Step.PUT_METADATA,)


def _plan_running(wanted: Machine, view: MachineView, status: MachineStatus) -> MachinePlan:
    """Update a running guest, and reboot it if that was requested."""
    if status.power is Power.STOPPING:
        return MachinePlan(_metadata(view), Then.WAITING_FOR_END)
    steps = [*_metadata(view)]
    if (view.needs_met or view.can_update) and not view.up_to_date and not view.releasing:
        steps.append(Step.UPDATE)
    if status.full and view.has_room:
        steps.append(Step.RESUME)
    if status.reboot_count < wanted.reboot_count and not view.reboot_asked:
        steps.append(Step.REBOOT)
    then = Then.WAITING_FOR_GUEST if view.releasing else Then.WAITING_FOR_SPACE if status.full else Then.SETTLED
    return MachinePlan(tuple(steps), then if view.needs_met else Then.WAITING_FOR_NEEDS)


def _plan_stopped(wanted: Machine, view: MachineView) -> MachinePlan:
    """Hibernate a guest, or stop it, gracefully or by force; remove from metadata what it may no longer have."""
    status = view.status
    if status is None:
        return MachinePlan((), Then.SETTLED)
    if status.power is Power.OFF:
        steps = (Step.REBOOT,) if status.reboot_count < wanted.reboot_count else ()
        return MachinePlan((*steps, *_metadata(view)), Then.SETTLED)
    if wanted.force_stop:
        return MachinePlan((Step.PULL_PLUG, *_metadata(view)), Then.WAITING_FOR_END)
    if status.power is Power.STOPPING:
        steps = (Step.HASTEN_STOP,) if wanted.hasten_stop and not view.hastened else ()
        return MachinePlan((*steps, *_metadata(view)), Then.WAITING_FOR_END)
    ask = Step.HASTEN_STOP if wanted.hasten_stop else Step.ASK_TO_STOP
    step = Step.HIBERNATE if wanted.hibernate and view.can_hibernate else ask
    return MachinePlan((step, *_metadata(view)), Then.WAITING_FOR_END)


def plan_removal(status: MachineStatus | None, *, force: bool, asked: bool, grace_over: bool) -> MachinePlan:
    """Plan a machine's removal: the guest gets a short grace period to shut down, unless forced."""
    remove = MachinePlan((Step.REMOVE, Step.REMOVE_METADATA), Then.GONE)
    if force or grace_over or status is None:
        return remove
    match status.power:
        case Power.OFF | Power.PAUSED:
            return remove
        case Power.UNKNOWN:
            return MachinePlan((), Then.UNCERTAIN)
        case Power.STOPPING:
            return MachinePlan((), Then.WAITING_FOR_GRACE)
        case Power.RUNNING:
            return MachinePlan(() if asked else (Step.ASK_TO_STOP,), Then.WAITING_FOR_GRACE)


class VolumeStep(enum.Enum):
    """What to do for a volume."""

    ENSURE = "ensure"  # create it, or grow it offline
    GROW_LIVE = "grow live"  # through the machine that uses it


def plan_volume(wanted_size: int, size: int | None, *, guest_runs: bool) -> VolumeStep:
    """Decide how a volume reaches its desired size: a disk in use can only be grown by the machine that uses it."""
    if size is not None and size < wanted_size and guest_runs:
        return VolumeStep.GROW_LIVE
    return VolumeStep.ENSURE


@dataclass(frozen=True, slots=True)
class VpcContents:
    """The desired parts of a VPC on this host, and those that may be reported as gone after that is applied."""

    subnets: tuple[Resource, ...] = ()  # all of the VPC, whether or not this host has interfaces in them
    groups: tuple[Resource, ...] = ()
    interfaces: tuple[Resource, ...] = ()
    route_tables: tuple[Resource, ...] = ()
    acls: tuple[Resource, ...] = ()
    peerings: tuple[Resource, ...] = ()
    nat_gateways: tuple[Resource, ...] = ()
    flow_logs: tuple[Resource, ...] = ()
    endpoints: tuple[Resource, ...] = ()
    endpoint_interfaces: tuple[Resource, ...] = ()
    gone: tuple[Key, ...] = ()
    lingering: tuple[Key, ...] = field(default=())  # to be removed, but a guest still has them

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing of the VPC is needed any more."""
        return not self.parts

    @property
    def leaves(self) -> bool:
        """Tell whether some part is to be removed."""
        return bool(self.gone or self.lingering)

    @property
    def parts(self) -> tuple[Resource, ...]:
        """All parts, without the VPC's mappings."""
        shared = self.subnets + self.groups + self.route_tables + self.acls + self.peerings + self.flow_logs
        shared += self.endpoints
        return shared + self.interfaces + self.nat_gateways + self.endpoint_interfaces


def contents_of_vpc(
    wanted: Mapping[Key, Resource], buried: Mapping[Key, Resource], in_use: Iterable[str]
) -> VpcContents:
    """Join the desired parts of a VPC with those to be removed that a guest still has in use.

    An interface stays until its guest has released it, and so does what it depends on: nothing is removed under a
    running guest, whatever the order of the controller's removals.
    """
    using = set(in_use)
    retained: dict[Key, Resource] = {}
    for key, resource in buried.items():
        if key.kind == desired_pb2.KIND_INTERFACE and key.id in using:
            retained[key] = resource
            retained.update({base: buried[base] for base in _bases_of(resource, wanted, buried) if base in buried})
    parts = {**retained, **wanted}
    return VpcContents(
        subnets=_of_kind(parts, desired_pb2.KIND_SUBNET),
        groups=_of_kind(parts, desired_pb2.KIND_SECURITY_GROUP),
        interfaces=_of_kind(parts, desired_pb2.KIND_INTERFACE),
        route_tables=_of_kind(parts, desired_pb2.KIND_ROUTE_TABLE),
        acls=_of_kind(parts, desired_pb2.KIND_NETWORK_ACL),
        peerings=_of_kind(parts, desired_pb2.KIND_PEERING),
        nat_gateways=_of_kind(parts, desired_pb2.KIND_NAT_GATEWAY),
        flow_logs=_of_kind(parts, desired_pb2.KIND_FLOW_LOG),
        endpoints=_of_kind(parts, desired_pb2.KIND_VPC_ENDPOINT),
        endpoint_interfaces=_of_kind(parts, desired_pb2.KIND_ENDPOINT_INTERFACE),
        gone=tuple(key for key in buried if key not in retained),
        lingering=tuple(retained),
    )


def _bases_of(interface: Resource, wanted: Mapping[Key, Resource], buried: Mapping[Key, Resource]) -> Iterable[Key]:
    """List what an interface depends on: its subnet with its route table and network ACL, and its groups."""
    key = Key(desired_pb2.KIND_SUBNET, interface.interface.subnet_id)
    yield key
    yield from (Key(desired_pb2.KIND_SECURITY_GROUP, each) for each in interface.interface.security_group_ids)
    subnet = wanted.get(key) or buried.get(key)
    if subnet is not None:
        yield Key(desired_pb2.KIND_ROUTE_TABLE, subnet.subnet.route_table_id)
        yield Key(desired_pb2.KIND_NETWORK_ACL, subnet.subnet.network_acl_id)


def _of_kind(parts: Mapping[Key, Resource], kind: "desired_pb2.Kind.ValueType") -> tuple[Resource, ...]:
    return tuple(parts[key] for key in sorted(parts) if key.kind == kind)
