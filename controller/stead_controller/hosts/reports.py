"""Applies hosts' reports to rows: states of instances, and the end of resources that hosts have removed."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import bindparam, select

from stead_controller.db.flush import flush
from stead_controller.db.load import Load
from stead_controller.db.prepared import Prepared, ask
from stead_controller.db.session import Transaction
from stead_controller.db.tables import (
    Host,
    HostResource,
    Instance,
    NatGateway,
    NetworkInterface,
    Snapshot,
    Volume,
    VpcEndpointInterface,
)
from stead_controller.desired import desired_state, host_errors, outbox, topics
from stead_controller.hosts import unclaimed
from stead_controller.request.lookup import batches
from stead_controller.resources import quotas
from stead_controller.resources.host_capacity import capacity, cores, devices, reserved_slots, slot_usage
from stead_controller.resources.instances import (
    hibernation,
    instance_firmware,
    instance_needs,
    instance_recovery,
    profile_associations,
    spot_instances,
    surplus_credits,
    volume_attachments,
)
from stead_controller.resources.instances.instance_states import (
    GUEST_SHUTDOWN,
    HOST_FAILURE,
    USER_HIBERNATION,
    USER_SHUTDOWN,
    Reason,
    change_state,
    interrupt_use,
    resume_use,
    skip_use,
    user_initiated,
)
from stead_controller.resources.network import (
    address_pools,
    nat_gateways,
    network_interface_attachments,
    notify_topology,
    vpc_endpoint_interfaces,
)
from stead_controller.resources.storage import snapshot_life, volume_life, volume_modifications
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1 import host_pb2 as pb

_CLOCKS_DIFFER_SECONDS: Final = 5.0
_ERROR_LENGTH: Final = 2000
_VOLUMES: Final = Load.by_ids(Volume)
_INSTANCES: Final = Load.by_ids(Instance)
_REVISION: Final = Prepared(
    select(HostResource.revision).where(
        HostResource.host_id == bindparam("host_id"),
        HostResource.kind == bindparam("kind"),
        HostResource.resource_id == bindparam("resource_id"),
    )
)
FAILURES: Final = frozenset({pb.CONDITION_FAILED, pb.CONDITION_UNCLAIMED})
"""Conditions that are stored as long as they last."""

_CRASHED: Final = Reason("Server.InternalError", "Server.InternalError: The virtual machine's process failed")


def is_news(status: pb.ResourceStatus, failing: Collection[tuple[int, str]]) -> bool:
    """Tell whether a status must be stored, for a host that has stored errors of these kinds and ids.

    Each host reports of each part of a VPC that it is as desired; that is not stored.
    """
    if (
        status.condition in FAILURES
        or (status.kind, status.id) in failing
        or status.volume.full
        or status.volume.stalled
    ):
        return True
    if status.kind == desired.KIND_SNAPSHOT:
        return status.HasField("snapshot")
    if status.condition == pb.CONDITION_READY:
        return status.kind in _READY_MATTERS
    if status.condition == pb.CONDITION_PENDING:
        machine = status.machine
        by_itself = machine.off_reason == pb.OFF_REASON_UNSPECIFIED  # its host was down
        return machine.start_count > 0 and machine.power == pb.MACHINE_POWER_OFF and by_itself
    return status.condition == pb.CONDITION_ABSENT and (status.kind in _HANDLERS or status.kind == desired.KIND_BASE)


@dataclass(frozen=True, slots=True)
class _Writing:
    """A transaction that applies reports, with the rows looked up for all of them.

    Of the instances `want_interfaces` wait for an interface to be attached, `want_volumes` for a volume to be attached
    or detached, `want_profiles` for their guests to get an instance profile; `rows` keeps read rows in the session.
    """

    tx: Transaction
    now: datetime
    want_interfaces: frozenset[str]
    want_volumes: frozenset[str]
    want_profiles: frozenset[str]
    rows: Sequence[Instance | Volume]


def apply_progress(tx: Transaction, progress: Sequence[tuple[str, Sequence[pb.ResourceStatus]]], now: datetime) -> None:
    """Apply reports of hosts, given by their ids; the status of a resource not (or no longer) known changes nothing."""
    host_ids = list({host_id for host_id, _ in progress})
    volumes, machines = (_batches(progress, kind) for kind in (desired.KIND_VOLUME, desired.KIND_MACHINE))
    _ask(tx, host_ids, volumes, machines)
    failing = host_errors.of_hosts(tx, host_ids)
    writing = _look_up(tx, volumes, machines, now)
    for host_id, statuses in progress:
        mine = failing[host_id]
        about_errors = [each for each in statuses if _is_about_errors(each, mine)]
        about_errors = unclaimed.without_adopted(tx, host_id, about_errors)
        host_errors.note(tx, host_id, about_errors, now)
        unclaimed.note(tx, host_id, about_errors)
        mine.update((each.kind, each.id) for each in statuses if each.condition in FAILURES)
        for status in statuses:
            if status.condition == pb.CONDITION_UNCLAIMED:
                continue  # there is no row to change
            if (handler := _HANDLERS.get(status.kind)) is not None:
                handler(writing, host_id, status)
        flush(tx.session)  # the next report must see the changes


def _is_about_errors(status: pb.ResourceStatus, failing: Collection[tuple[int, str]]) -> bool:
    return status.condition in FAILURES or (status.kind, status.id) in failing


def _batches(progress: Sequence[tuple[str, Sequence[pb.ResourceStatus]]], kind: int) -> list[tuple[str, ...]]:
    """Return the ids of all resources of a kind that are reported, in batches that one statement can look for."""
    return list(batches(sorted({each.id for _, statuses in progress for each in statuses if each.kind == kind})))


def _ask(
    tx: Transaction, host_ids: Sequence[str], volumes: Sequence[Sequence[str]], machines: Sequence[Sequence[str]]
) -> None:
    """Let a database on a server answer at once what is looked up of all reports."""
    ask(
        tx.connection,
        host_errors.question(host_ids),
        *(_VOLUMES.question({"ids": batch}) for batch in volumes),
        *(
            question
            for batch in machines
            for question in (
                _INSTANCES.question({"ids": batch}),
                network_interface_attachments.waiting_question(batch),
                volume_attachments.waiting_question(batch),
                profile_associations.waiting_question(batch),
            )
        ),
    )


def _look_up(
    tx: Transaction, volumes: Sequence[Sequence[str]], machines: Sequence[Sequence[str]], now: datetime
) -> _Writing:
    """Read at once the rows that each status would otherwise look up."""
    rows: list[Instance | Volume] = []
    want_interfaces: set[str] = set()
    want_volumes: set[str] = set()
    want_profiles: set[str] = set()
    for batch in volumes:
        rows += _VOLUMES.all(tx.session, {"ids": batch})
    for batch in machines:
        rows += _INSTANCES.all(tx.session, {"ids": batch})
        want_interfaces |= network_interface_attachments.waiting(tx, batch)
        want_volumes |= volume_attachments.waiting(tx, batch)
        want_profiles |= profile_associations.waiting(tx, batch)
    return _Writing(tx, now, frozenset(want_interfaces), frozenset(want_volumes), frozenset(want_profiles), rows)


def _machine(writing: _Writing, host_id: str, status: pb.ResourceStatus) -> None:
    tx, now = writing.tx, writing.now
    instance = tx.session.get(Instance, status.id)
    if instance is None or instance.host_id != host_id:
        return
    surplus_credits.bill(tx, instance, host_id, status.machine.cpu_credits, now)
    if status.condition == pb.CONDITION_ABSENT:
        if instance.state == "shutting-down":
            _is_gone(tx, host_id, instance, now)
        return
    if status.condition == pb.CONDITION_FAILED:
        instance.host_error = status.error[:_ERROR_LENGTH]
        if _is_news(tx, host_id, status):
            volume_attachments.note_busy(tx, instance.id, status.machine.volume_ids)
    elif status.condition == pb.CONDITION_READY:
        instance.host_error = ""
        _has_all(writing, host_id, instance, status)
    if status.HasField("machine"):
        instance.reboots_done = status.machine.reboot_count
    if not status.HasField("machine"):
        return
    instance_firmware.note(tx, instance, status.machine)
    if status.machine.start_count == instance.start_count:
        if status.machine.power == pb.MACHINE_POWER_OFF and status.machine.HasField("cpu_credits"):
            instance.saved_credits = status.machine.cpu_credits.credits
        if status.machine.HasField("saved_for_volumes"):
            instance.saved_ebs_bytes = status.machine.saved_for_volumes.bytes
            instance.saved_ebs_iops = status.machine.saved_for_volumes.operations
        _power(tx, instance, status.machine, now)
    elif instance.state == "stopping" and _never_started(tx, host_id, status, instance):
        _has_stopped(tx, instance, status.machine, now)
    elif instance.state == "running" and _is_news(tx, host_id, status):
        _note_off(tx, instance, status.machine, now)


def _never_started(tx: Transaction, host_id: str, status: pb.ResourceStatus, instance: Instance) -> bool:
    """Tell whether a stop replaced a machine's last start before the host began it: it is off, and stays off."""
    machine, is_done = status.machine, status.condition == pb.CONDITION_READY
    is_off = machine.power == pb.MACHINE_POWER_OFF and machine.start_count < instance.start_count
    return is_done and is_off and _is_news(tx, host_id, status)


def _has_all(writing: _Writing, host_id: str, instance: Instance, status: pb.ResourceStatus) -> None:
    """Apply a report that a machine is as last desired.

    Interfaces and volumes are attached or detached as desired, and its metadata is up to date.
    """
    wants = [instance.id in each for each in (writing.want_interfaces, writing.want_volumes, writing.want_profiles)]
    if not (any(wants) or instance.metadata_pending) or not _is_news(writing.tx, host_id, status):
        return
    wants_interface, wants_volume, wants_profile = wants
    if wants_interface:
        network_interface_attachments.settle_attached(writing.tx, instance.id)
    if wants_volume:
        volume_attachments.settle_machine(writing.tx, instance.id, status.machine.volume_ids, writing.now)
    if wants_profile:
        profile_associations.settle(writing.tx, instance.id)
    instance.metadata_pending = False


def _is_news(tx: Transaction, host_id: str, status: pb.ResourceStatus) -> bool:
    """Tell whether a status is about the latest desired state of the resource, not about an earlier one."""
    latest: int | None = _REVISION.scalar(
        tx.connection, {"host_id": host_id, "kind": status.kind, "resource_id": status.id}
    )
    return status.revision >= (latest or 0)


def _power(tx: Transaction, instance: Instance, machine: pb.MachineStatus, now: datetime) -> None:
    """Move an instance to the actual power state of its machine."""
    before = (instance.answers, instance.hung_since, instance.off_since)
    if machine.power in _ALIVE:
        _bill_again(tx, instance, machine, now)
        _note_answers(instance, machine, now)
        hung_since = machine.hung_since
        instance.hung_since = min(datetime.fromtimestamp(hung_since, UTC), now) if hung_since else None
        instance.off_since = None
        instance_recovery.end(tx, instance)
    if machine.power == pb.MACHINE_POWER_RUNNING and instance.state == "pending":
        hibernation.forget_memory(tx, instance)
        change_state(tx, instance, "running", now)
    elif machine.power == pb.MACHINE_POWER_OFF:
        if instance.state == "stopping":
            _has_stopped(tx, instance, machine, now)
        elif (instance.state, machine.off_reason) in _OFF_BY_ITSELF:
            _went_off(tx, instance, machine, now)
        else:
            _note_off(tx, instance, machine, now)
    if (instance.answers, instance.hung_since, instance.off_since) != before:
        tx.events.add(instance.id)  # its status may be another


def _end_of(machine: pb.MachineStatus, now: datetime) -> datetime:
    """Return when the guest of a machine that is off ended, as its host knows: while we were away, it may be long ago.

    It is never later than now, whatever the host's clock says, and now where the host does not know.
    """
    known = 0 < machine.off_since < now.timestamp()
    return datetime.fromtimestamp(machine.off_since, UTC) if known else now


def _bill_again(tx: Transaction, instance: Instance, machine: pb.MachineStatus, now: datetime) -> None:
    """Bill an instance from when its guest runs again, which may be long since, or not for the time that it did not."""
    lost = 0 < machine.lost_since < machine.lost_until <= now.timestamp()
    began = datetime.fromtimestamp(machine.lost_until, UTC) if lost else now
    if (instance.off_since or instance.recovery_began) is not None:
        resume_use(tx, instance, began)
    elif lost:
        skip_use(tx, instance, datetime.fromtimestamp(machine.lost_since, UTC), began)


def _note_off(tx: Transaction, instance: Instance, machine: pb.MachineStatus, now: datetime) -> None:
    """Store that an instance does not run though it should: its host was down, or cannot start it."""
    if instance.state == "running" and machine.power == pb.MACHINE_POWER_OFF and instance.off_since is None:
        instance.off_since = now
        interrupt_use(tx, instance, _end_of(machine, now))
        instance.answers, instance.silent_since, instance.hung_since = "starting", None, None


def _note_answers(instance: Instance, machine: pb.MachineStatus, now: datetime) -> None:
    """Store whether a guest answers; while an agent that was just started cannot know, the last report is retained."""
    if machine.answers == pb.GUEST_ANSWERS_UNKNOWN:
        if instance.state == "pending" or instance.recovery_began is not None:
            instance.answers, instance.silent_since = "starting", None
        return
    was_silent = instance.answers == "no"
    instance.answers = _ANSWERS.get(machine.answers)
    if instance.answers != "no":
        instance.silent_since = None
    elif not was_silent:
        instance.silent_since = min(datetime.fromtimestamp(machine.silent_since, UTC), now)


_ANSWERS: Final = {
    pb.GUEST_ANSWERS_STARTING: "starting",
    pb.GUEST_ANSWERS_YES: "yes",
    pb.GUEST_ANSWERS_NO: "no",
}
_ALIVE: Final = frozenset({pb.MACHINE_POWER_RUNNING, pb.MACHINE_POWER_STOPPING, pb.MACHINE_POWER_PAUSED})
# An instance that should run is off: its guest powered off, its process failed, or it was powered off on the host.
# OFF_REASON_UNSPECIFIED is none of these: the host itself was down, and its agent starts the machine again.
_OFF_BY_ITSELF: Final = {
    ("pending", pb.OFF_REASON_GUEST),
    ("pending", pb.OFF_REASON_CRASHED),
    ("running", pb.OFF_REASON_GUEST),
    ("running", pb.OFF_REASON_CRASHED),
    ("running", pb.OFF_REASON_ASKED),
}


def _went_off(tx: Transaction, instance: Instance, machine: pb.MachineStatus, now: datetime) -> None:
    """Handle a guest that powered itself off, by stop or terminate as the launch requested, or a failed process.

    After a failure the instance is recovered, if allowed. That is another start, so no earlier report can repeat it.
    """
    ended = _end_of(machine, now)
    if machine.off_reason == pb.OFF_REASON_CRASHED and instance_recovery.begin(tx, instance, now):
        interrupt_use(tx, instance, ended)
        return
    by_guest = machine.off_reason == pb.OFF_REASON_GUEST
    if instance.shutdown_behavior == "terminate" and by_guest:
        change_state(tx, instance, "shutting-down", now, GUEST_SHUTDOWN, ended=ended)
        if instance.host_id is not None:
            desired_state.remove_machine(tx, instance.host_id, instance.id)
        return
    _is_off(tx, instance, now, GUEST_SHUTDOWN if by_guest else _CRASHED, ended)


def _has_stopped(tx: Transaction, instance: Instance, machine: pb.MachineStatus, now: datetime) -> None:
    """Handle a stop that was requested; one that should have hibernated the guest may have shut it down instead."""
    reason = Reason(instance.state_reason_code, instance.state_reason_message)
    if not machine.hibernated:
        hibernation.forget_memory(tx, instance)
        reason = USER_SHUTDOWN if reason == USER_HIBERNATION else reason
    _is_off(tx, instance, now, reason, _end_of(machine, now))


def _is_off(tx: Transaction, instance: Instance, now: datetime, reason: Reason, ended: datetime) -> None:
    """Handle a machine that is off: its capacity and automatic public address are freed, disks and addresses stay."""
    transition = user_initiated(now) if reason.code == USER_SHUTDOWN.code else ""
    transition = instance.state_transition_reason or transition
    change_state(tx, instance, "stopped", now, reason, transition=transition, ended=ended)
    instance.force_stop = instance.hasten_stop = False
    instance_recovery.end(tx, instance)
    _release(tx, instance, now)
    for interface in _interfaces(tx, instance):
        address_pools.release_public(tx, interface.id, now)
        if interface.device_index == 0:
            instance.public_address = address_pools.public_of(tx, interface)
    desired_state.refresh_instance(tx, instance.id)


def _is_gone(tx: Transaction, host_id: str, instance: Instance, now: datetime) -> None:
    """Handle a removed machine: its interfaces, and the volumes to be deleted on termination, are removed as well."""
    reason = Reason(instance.state_reason_code, instance.state_reason_message)
    change_state(tx, instance, "terminated", now, reason, transition=instance.state_transition_reason)
    _release(tx, instance, now)
    spot_instances.reopen_request(tx, instance, now)
    hibernation.forget_memory(tx, instance)
    instance_firmware.forget(tx, instance)
    instance.public_address = None
    gone: set[tuple[int, str]] = set()
    parts: dict[str, str] = {}
    for interface in _interfaces(tx, instance):
        parts[interface.id] = interface.vpc_id
        gone.add((desired.KIND_INTERFACE, interface.id))
        network_interface_attachments.end_with_instance(tx, interface, now)
    volume_attachments.end_with_instance(tx, instance, now)
    profile_associations.end_with_instance(tx, instance)
    tx.session.flush()
    outbox.write(tx, host_id, {}, gone=gone)
    for interface_id, vpc_id in parts.items():
        topics.refresh_part(tx, desired.KIND_MAPPING, interface_id, vpc_id)
        notify_topology.target(tx, interface_id)
    for vpc_id in sorted({instance.vpc_id, *parts.values()}):
        topics.refresh_host(tx, vpc_id, host_id)


def _interfaces(tx: Transaction, instance: Instance) -> Iterable[NetworkInterface]:
    return tx.session.scalars(select(NetworkInterface).where(NetworkInterface.instance_id == instance.id)).all()


def _release(tx: Transaction, instance: Instance, now: datetime) -> None:
    if instance.capacity_held and instance.host_id is not None:
        need = instance_needs.of(tx, instance)
        if instance.capacity_reservation_id is None:
            capacity.release(tx, instance.host_id, need)
            quotas.use_vcpus(tx, instance.account_id, -instance.vcpus)
        else:
            reserved_slots.give_back(tx, instance.capacity_reservation_id, instance.host_id)
            slot_usage.measure(tx, instance.capacity_reservation_id, now)
            instance.capacity_reservation_id = None
        if need.devices:
            devices.release(tx, instance.id)
        if need.cores is not None:
            cores.release(tx, instance.id)
        instance.capacity_held = False
        tx.makes_room = True


def _volume(writing: _Writing, host_id: str, status: pb.ResourceStatus) -> None:
    """Handle a volume that is as desired at its home, or gone from there; or gone from another host that used it."""
    tx, now = writing.tx, writing.now
    volume = tx.session.get(Volume, status.id)
    if volume is None:
        return
    if volume.host_id != host_id:
        if status.condition == pb.CONDITION_ABSENT and _is_news(tx, host_id, status):
            outbox.forget_removal(tx, host_id, (status.kind, status.id))
            volume_attachments.settle_gone(tx, host_id, volume, now)
        elif volume.attached_host_id == host_id:
            _note_impairments(volume, status, now)
            if status.condition == pb.CONDITION_READY:
                volume_modifications.settle(tx, volume, now, size=status.volume.size)
        return
    if status.condition == pb.CONDITION_ABSENT:
        if volume.state == "deleting":
            volume_life.forget(tx, volume)
        return
    if volume.attached_host_id in (None, host_id):
        _note_impairments(volume, status, now)
    if status.HasField("volume"):
        if status.volume.lost != (volume.lost_since is not None) and volume.instance_id is not None:
            tx.events.add(volume.instance_id)  # its status is another
        volume.lost_since = (volume.lost_since or now) if status.volume.lost else None
    if status.condition == pb.CONDITION_READY and _is_news(tx, host_id, status):
        if volume.state == volume_life.CREATING:
            volume.state = "available"
        volume_attachments.settle_at_home(tx, volume, now)
        if volume.attached_host_id in (None, host_id):
            volume_modifications.settle(tx, volume, now, size=status.volume.size)


def _note_impairments(volume: Volume, status: pb.ResourceStatus, now: datetime) -> None:
    """Store since when a guest waits for space on a volume, or for its requests, which only the guest's host knows."""
    if status.HasField("volume"):
        volume.full_since = (volume.full_since or now) if status.volume.full else None
        volume.stalled_since = (volume.stalled_since or now) if status.volume.stalled else None


def _interface(writing: _Writing, host_id: str, status: pb.ResourceStatus) -> None:
    """Handle an interface to be detached that is gone from its host."""
    tx = writing.tx
    if status.condition != pb.CONDITION_ABSENT or not _is_news(tx, host_id, status):
        return
    interface = tx.session.get(NetworkInterface, status.id)
    if interface is not None and interface.host_id == host_id and interface.attachment_state == "detaching":
        network_interface_attachments.settle_detached(tx, interface)


def _nat_gateway(writing: _Writing, host_id: str, status: pb.ResourceStatus) -> None:
    tx, now = writing.tx, writing.now
    gateway = tx.session.get(NatGateway, status.id)
    if gateway is None or gateway.host_id != host_id:
        return
    if status.condition == pb.CONDITION_ABSENT and gateway.state == "deleting":
        nat_gateways.settle_deleted(tx, gateway, now)
    elif status.condition == pb.CONDITION_READY:
        nat_gateways.settle_available(tx, gateway, now)
    elif status.condition == pb.CONDITION_FAILED:
        gateway.host_error = status.error[:_ERROR_LENGTH]


def _endpoint_interface(writing: _Writing, host_id: str, status: pb.ResourceStatus) -> None:
    tx = writing.tx
    row = tx.session.get(VpcEndpointInterface, status.id)
    if row is None or row.host_id != host_id:
        return
    if status.condition == pb.CONDITION_ABSENT and row.state == "deleting":
        vpc_endpoint_interfaces.settle_gone(tx, row, writing.now)
    elif status.condition == pb.CONDITION_READY:
        vpc_endpoint_interfaces.settle_ready(tx, row)
    elif status.condition == pb.CONDITION_FAILED:
        row.host_error = status.error[:_ERROR_LENGTH]


def _snapshot(writing: _Writing, host_id: str, status: pb.ResourceStatus) -> None:
    """Store how far a snapshot is; completion is decided by the block store, or for a simulated host by its report.

    If the instant was lost because the guest ended, a later one is used: the snapshot's start time is then that one.
    """
    tx, now = writing.tx, writing.now
    snapshot = tx.session.get(Snapshot, status.id)
    if snapshot is None or snapshot.host_id != host_id or not status.HasField("snapshot"):
        return
    reported = status.snapshot
    if reported.lost:
        snapshot_life.fail(tx, snapshot, snapshot_life.LOST)
        return
    if reported.blocks:
        snapshot.progress = max(snapshot.progress, min(99, 100 * reported.blocks_done // reported.blocks))
    instant = min(reported.taken_at / 1000, now.timestamp())  # in case the host's clock is ahead
    if instant > snapshot.started.timestamp() + _CLOCKS_DIFFER_SECONDS:
        snapshot.started = datetime.fromtimestamp(instant, UTC)
    if reported.complete and tx.session.get_one(Host, host_id).simulated:
        snapshot_life.complete(tx, snapshot, now, inherits=True)


_HANDLERS: Final[dict[int, Callable[[_Writing, str, pb.ResourceStatus], None]]] = {
    desired.KIND_ENDPOINT_INTERFACE: _endpoint_interface,
    desired.KIND_INTERFACE: _interface,
    desired.KIND_MACHINE: _machine,
    desired.KIND_NAT_GATEWAY: _nat_gateway,
    desired.KIND_SNAPSHOT: _snapshot,
    desired.KIND_VOLUME: _volume,
}


# Kinds for which a status that all is as desired must be stored.
_READY_MATTERS: Final = frozenset(
    {desired.KIND_ENDPOINT_INTERFACE, desired.KIND_MACHINE, desired.KIND_NAT_GATEWAY, desired.KIND_VOLUME}
)


def give_up_launch(tx: Transaction, instance: Instance, now: datetime) -> None:
    """End a start that its host could not do in time: a first launch is terminated, a later start is stopped."""
    reason = HOST_FAILURE
    if instance.start_count == 1:
        change_state(tx, instance, "shutting-down", now, reason)
        if instance.host_id is not None:
            desired_state.remove_machine(tx, instance.host_id, instance.id, force=True)
    else:
        _stop_at_once(tx, instance, now, reason)


def give_up_recovery(tx: Transaction, instance: Instance, now: datetime) -> None:
    """Stop an instance that its host could not start again in time after its machine's process failed."""
    _stop_at_once(tx, instance, now, _CRASHED)


def _stop_at_once(tx: Transaction, instance: Instance, now: datetime, reason: Reason) -> None:
    change_state(tx, instance, "stopping", now, reason)
    instance.force_stop = True
    desired_state.refresh_instance(tx, instance.id)
