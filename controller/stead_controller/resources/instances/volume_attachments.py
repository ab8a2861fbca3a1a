"""Attach volumes to instances, running or stopped, on the volume's home host or another one, and detach them.

One host at a time may use a volume: `attached_host_id`. It is free again when that host reports that it released it,
or, if it is detached by force from a host that is not its home, when the home reports that it no longer exports it.
"""

import secrets
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, func, select

from stead_controller.catalog import device_names, volume_types
from stead_controller.db.prepared import Prepared, Question
from stead_controller.db.tables import HostError, Instance, InstanceStoreDisk, NetworkInterface, Volume
from stead_controller.desired import desired_state
from stead_controller.errors import LimitExceeded, NoCapacity, NotFound, WrongState
from stead_controller.request import instance_types, lookup
from stead_controller.request.caller import Caller
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags
from stead_controller.resources.host_capacity import volume_homes
from stead_controller.resources.instances import hibernation
from stead_controller.resources.storage import snapshot_damage, snapshot_life, volume_life, volume_usage
from stead_proto import limits
from stead_proto.v1 import desired_pb2 as desired

_ENDED: Final = ("shutting-down", "terminated")
DETACHING: Final = ("detaching", "busy")
"""States of attachments that are ending; such a volume is no longer part of the VM's desired state."""
_FAILED_AT_ONCE: Final = 100
_WAITING: Final = ("attaching", *DETACHING)
_WAITING_OF: Final = Prepared(
    select(Volume.instance_id).where(
        Volume.instance_id.in_(bindparam("ids", expanding=True)), Volume.attachment_state.in_(_WAITING)
    )
)
_WAITING_VOLUMES: Final = Prepared(
    select(Volume.id).where(Volume.instance_id == bindparam("instance_id"), Volume.attachment_state.in_(_WAITING))
)


def attach(  # noqa: PLR0917 — what the operation asks
    tx: Transaction, caller: Caller, cloud: Cloud, volume_id: str, instance_id: str, device: str, now: datetime
) -> Volume:
    """Attach a volume to a running or stopped instance.

    Raises MalformedId, NotFound, InvalidParameter, WrongState, LimitExceeded, NoCapacity for its first home.
    """
    device_names.check(device)
    volume = lookup.find(tx, caller, "volume", Volume, volume_id)
    instance = lookup.find(tx, caller, "instance", Instance, instance_id)
    if instance.state not in ("running", "stopped"):
        raise WrongState("instance", f"Instance '{instance.id}' is not 'running' or 'stopped'.", code="IncorrectState")
    require_attachable(tx, volume, instance)
    device_names.check_free(device, devices(tx, instance.id))
    if device_names.point(device) == device_names.point(instance.root_device_name):
        volume_types.check_root(volume.volume_type)
    _check_number(tx, instance)
    if volume.host_id is None:
        volume_homes.find_home(tx, cloud, volume, instance.host_id)
    _note_start(tx, instance)
    plug(tx, volume, instance, device, now, state="attaching")
    desired_state.refresh_volume(tx, volume)
    desired_state.refresh_instance(tx, instance.id)
    return volume


def require_attachable(tx: Transaction, volume: Volume, instance: Instance) -> None:
    """Raise WrongState for a volume that is not free, lacks data, or is not in the zone of an instance."""
    _require_free(volume)
    _require_data(tx, volume)
    if volume.zone != instance.zone:
        raise WrongState(
            "volume",
            f"The volume '{volume.id}' is not in the same availability zone as instance '{instance.id}'",
            code="InvalidVolume.ZoneMismatch",
        )
    is_remote_use = volume.host_id is not None and instance.host_id not in (None, volume.host_id)
    if is_remote_use and desired_state.removal_pending(tx, instance.host_id or "", volume.id):
        # After a forced detach it is free for other hosts, but not for another guest of the same host.
        raise WrongState("volume", f"{volume.id} is not 'available'.", code="IncorrectState")


def devices(tx: Transaction, instance_id: str) -> list[str]:
    """List the names of an instance's devices that are taken, by volumes and scratch disks."""
    names = list(tx.session.scalars(select(Volume.device_name).where(Volume.instance_id == instance_id)))
    scratch = select(InstanceStoreDisk.device_name).where(InstanceStoreDisk.instance_id == instance_id)
    return [name for name in (*names, *tx.session.scalars(scratch)) if name]


def _note_start(tx: Transaction, instance: Instance) -> None:
    """Store which volumes a running instance was started with, before the first change: its metadata still shows them.

    See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-categories.html (`ebsN`).
    """
    if instance.state != "running" or instance.ebs_at_start is not None:
        return
    query = select(Volume.device_name).where(
        Volume.instance_id == instance.id, Volume.device_name != instance.root_device_name
    )
    names = tx.session.scalars(query.order_by(Volume.device_name))
    instance.ebs_at_start = [name for name in names if name is not None]


def _require_free(volume: Volume) -> None:
    if volume.instance_id is not None:
        raise WrongState("volume", f"{volume.id} is already attached to an instance", code="VolumeInUse")
    if volume.state != "available":
        raise WrongState("volume", f"{volume.id} is not 'available'.", code="IncorrectState")


def _require_data(tx: Transaction, volume: Volume) -> None:
    """Raise WrongState for a volume that cannot be created, has lost its disk, or whose guest would wait for data."""
    if volume.lost_since is not None:
        raise WrongState("volume", f"{volume.id} is impaired: its disk is not there.", code="IncorrectState")
    if snapshot_damage.volume_lacks_data(tx, volume.id):
        raise WrongState(
            "volume",
            f"{volume.id} is impaired: data of its snapshot {volume.snapshot_id} is damaged.",
            code="IncorrectState",
        )


def end_damaged(tx: Transaction) -> None:
    """Fail attachments whose volumes cannot be created because data of their snapshots is damaged, or lost their disks.

    They are detached; the volumes' status shows the reason. An instance's first start has its own deadline.
    """
    lost = (
        select(Volume, Instance.id)
        .select_from(HostError)
        .join(Volume, (Volume.id == HostError.resource_id) & (Volume.host_id == HostError.host_id))
        .join(Instance, Instance.id == Volume.instance_id)
        .where(
            HostError.kind == int(desired.KIND_VOLUME),
            Volume.attachment_state == "attaching",
            Volume.lost_since.is_not(None),
            Instance.state.in_(("running", "stopped")),
        )
    )
    failing = (
        select(Volume, Instance.id)
        .select_from(Volume)
        .join(HostError, (HostError.resource_id == Volume.snapshot_id) & (HostError.host_id == Volume.host_id))
        .join(Instance, Instance.id == Volume.instance_id)
        .where(
            HostError.kind == int(desired.KIND_BASE),
            Volume.attachment_state == "attaching",
            Instance.state.in_(("running", "stopped")),
            snapshot_damage.VOLUME_LACKS_DATA,
        )
    )
    for query in (lost, failing):
        for volume, instance_id in tx.session.execute(query.limit(_FAILED_AT_ONCE)).all():
            begin_detaching(tx, volume)
            desired_state.refresh_instance(tx, instance_id)


def _check_number(tx: Transaction, instance: Instance) -> None:
    """Raise LimitExceeded when an instance has no slot left, which volumes, interfaces and scratch disks share."""
    kind = instance_types.find(tx, instance.instance_type)
    taken = 0
    for table in (Volume, NetworkInterface, InstanceStoreDisk):
        query = select(func.count()).select_from(table).where(table.instance_id == instance.id)
        taken += tx.session.scalars(query).one()
    if kind is not None and taken >= kind.max_volumes:
        raise LimitExceeded(
            "You've reached the limit on the number of Amazon EBS volumes or network interfaces that can be attached "
            "to a single instance.",
            code="AttachmentLimitExceeded",
        )


def plug(tx: Transaction, volume: Volume, instance: Instance, device: str, now: datetime, *, state: str) -> None:
    """Set the attachment in the row of a volume with a home; the volume stays when the instance is terminated."""
    volume.state = "in-use"
    volume.instance_id = instance.id
    volume.device_name = device
    volume.attachment_state = state
    volume.attach_time = now
    volume.delete_on_termination = False
    volume.attached_host_id = instance.host_id
    volume.generation += 1
    if is_remote(volume):
        volume.export_port = _free_port(tx, volume.host_id)
        snapshot_life.follow(tx, volume)


def serve_anew(tx: Transaction, volume: Volume) -> None:
    """Export a volume to the host that uses it, if that is not its home: an export of before has ended, or must."""
    volume.export_port = None
    if is_remote(volume):
        volume.generation += 1
        volume.export_port = _free_port(tx, volume.host_id)


def have_new_home(tx: Transaction, volume: Volume) -> None:
    """Have a volume's new home make its disk, and serve it to the host that has its stopped instance."""
    serve_anew(tx, volume)
    desired_state.refresh_volume(tx, volume)


def move_use(tx: Transaction, volume: Volume, host_id: str) -> None:
    """Let another host use an attached volume, whose instance is off and moves there; its last one releases it."""
    last = _remote_user(volume)
    if last is not None:
        desired_state.remove_volume(tx, last, volume.id)
    volume.attached_host_id = host_id
    serve_anew(tx, volume)
    snapshot_life.follow(tx, volume)
    desired_state.refresh_volume(tx, volume)


def is_remote(volume: Volume) -> bool:
    """Tell whether a host that is not its home may use a volume."""
    return _remote_user(volume) is not None


def _remote_user(volume: Volume) -> str | None:
    """Return the host that may use a volume and is not its home, if there is one."""
    return volume.attached_host_id if volume.attached_host_id != volume.host_id else None


def _free_port(tx: Transaction, host_id: str | None) -> int:
    """Choose a port at which the home exports no other volume; not the one freed last, which may still be in use."""
    taken = set(tx.session.scalars(select(Volume.export_port).where(Volume.host_id == host_id)))
    ports = limits.EXPORT_PORTS
    start = secrets.randbelow(len(ports))
    order: list[int] = [*ports[start:], *ports[:start]]
    for port in order:
        if port not in taken:
            return port
    raise NoCapacity("The host of this volume serves as many volumes as it can.", code="InsufficientVolumeCapacity")


def detach(
    tx: Transaction,
    caller: Caller,
    volume_id: str,
    instance_id: str | None = None,
    device: str | None = None,
    *,
    force: bool = False,
) -> Volume:
    """Begin to detach a volume; it is available when the host that uses it reports that it released it.

    `force` does not wait for a host that is not its home. Raises MalformedId, NotFound, WrongState.
    """
    volume = lookup.find(tx, caller, "volume", Volume, volume_id)
    if instance_id is not None:
        lookup.find(tx, caller, "instance", Instance, instance_id)
    if volume.instance_id is None:
        raise WrongState("volume", f"Volume '{volume.id}' is in the '{volume.state}' state.", code="IncorrectState")
    if instance_id not in (None, volume.instance_id) or device not in (None, volume.device_name):
        raise NotFound("volume-attachment", volume.id)
    instance = tx.session.get_one(Instance, volume.instance_id)
    if volume.attachment_state in DETACHING and not force:
        raise WrongState("volume", f"Volume '{volume.id}' is in the 'detaching' state.", code="IncorrectState")
    if instance.state in _ENDED:
        raise WrongState("instance", f"Instance '{instance.id}' is not 'running' or 'stopped'.", code="IncorrectState")
    if volume.device_name == instance.root_device_name and instance.state != "stopped":
        raise WrongState(
            "volume",
            f"Unable to detach root volume '{volume.id}' from instance '{instance.id}'",
            code="OperationNotPermitted",
        )
    hibernation.require_awake(instance, "detach its volumes")
    volume.delete_on_termination = False
    if volume.attachment_state not in DETACHING:
        _note_start(tx, instance)
        begin_detaching(tx, volume)
        desired_state.refresh_instance(tx, instance.id)
    user = _remote_user(volume)
    if force and user is not None:
        desired_state.remove_volume(tx, user, volume.id, force=True)
        _stop_serving(tx, volume)
    return volume


def begin_detaching(tx: Transaction, volume: Volume) -> None:
    """Tell the host that uses a volume to release it; the caller then sends the VM's state without the volume."""
    volume.attachment_state = "detaching"
    user = _remote_user(volume)
    if user is not None:
        desired_state.remove_volume(tx, user, volume.id)


def _stop_serving(tx: Transaction, volume: Volume) -> None:
    """Tell a volume's home to end its export to another host, whatever that host does."""
    volume.attached_host_id = None
    volume.export_port = None
    snapshot_life.follow(tx, volume)
    desired_state.refresh_volume(tx, volume)


def waiting_question(instance_ids: Sequence[str]) -> Question:
    """Return what `waiting` asks, so that the database can answer it with others."""
    return _WAITING_OF, {"ids": instance_ids}


def waiting(tx: Transaction, instance_ids: Collection[str]) -> set[str]:
    """Return those of some instances for which `settle_machine` would change something."""
    return set(_WAITING_OF.scalars(tx.connection, {"ids": list(instance_ids)}))


def settle_machine(tx: Transaction, instance_id: str, plugged: Collection[str], now: datetime) -> None:
    """Record that a VM has its desired state: volumes are attached, and detached ones at home are released."""
    for volume_id in _WAITING_VOLUMES.scalars(tx.connection, {"instance_id": instance_id}):
        volume = tx.session.get_one(Volume, volume_id)  # which the host has usually reported, too
        if volume.attachment_state == "attaching":
            volume.attachment_state = "attached"
        elif volume.host_id == volume.attached_host_id and volume.id not in plugged:
            settle_detached(tx, volume, now)


def note_busy(tx: Transaction, instance_id: str, plugged: Collection[str]) -> None:
    """Record that a VM did not reach its desired state, while its guest still uses volumes that it should release."""
    query = select(Volume).where(Volume.instance_id == instance_id, Volume.attachment_state == "detaching")
    for volume in tx.session.scalars(query).all():
        if volume.id in plugged:
            volume.attachment_state = "busy"


def settle_gone(tx: Transaction, host_id: str, volume: Volume, now: datetime) -> None:
    """Record that a host that is not its home has released a volume."""
    if volume.attachment_state not in DETACHING:
        return
    instance = tx.session.get(Instance, volume.instance_id)
    if host_id == volume.attached_host_id or (instance is not None and instance.host_id == host_id):
        settle_detached(tx, volume, now)


def settle_at_home(tx: Transaction, volume: Volume, now: datetime) -> None:
    """Record that a volume's home has applied its desired state: if that has no export, the volume is free."""
    if volume.attachment_state in DETACHING and volume.attached_host_id is None:
        settle_detached(tx, volume, now)


def settle_detached(tx: Transaction, volume: Volume, now: datetime) -> None:
    """Record that a volume is no longer in use; one that is to be deleted with its instance is deleted."""
    ends = volume.delete_on_termination and _live_instance(tx, volume.instance_id) is None
    volume.state = "available"
    volume.instance_id = volume.device_name = volume.attachment_state = volume.attach_time = None
    volume.attached_host_id = volume.export_port = None
    volume.full_since = volume.stalled_since = None  # no guest waits for it any more, and no host says so of none
    volume.delete_on_termination = False
    tx.session.flush()
    if ends:
        volume_life.begin_deletion(tx, volume, now)
    else:
        desired_state.refresh_volume(tx, volume)


def _live_instance(tx: Transaction, instance_id: str | None) -> Instance | None:
    """Return an instance unless it has ended, or is forgotten since."""
    instance = tx.session.get(Instance, instance_id) if instance_id is not None else None
    return None if instance is None or instance.state in _ENDED else instance


def end_with_instance(tx: Transaction, instance: Instance, now: datetime, *, host_lost: bool = False) -> None:
    """Record that an instance's VM is removed from its host or, with `host_lost`, was lost with it.

    Volumes at home are freed or deleted; the host must release other homes' volumes that are no longer used. With
    a lost host its own volumes are lost; the homes of other volumes end their exports to it.
    """
    for volume in tx.session.scalars(select(Volume).where(Volume.instance_id == instance.id)).all():
        if host_lost:
            if volume.host_id != instance.host_id:
                volume.attachment_state = "detaching"
                _stop_serving(tx, volume)
        elif volume.host_id == volume.attached_host_id:
            settle_detached(tx, volume, now)
        elif volume.attachment_state not in DETACHING:
            begin_detaching(tx, volume)


def lose_home(tx: Transaction, volume: Volume, now: datetime) -> None:
    """Remove a volume whose home host is removed, and notify the other host that used it."""
    user, instance = _remote_user(volume), _live_instance(tx, volume.instance_id)
    volume_usage.end(tx, volume, now)
    tags.remove_all(tx, [volume.id])
    tx.session.delete(volume)
    tx.session.flush()
    if user is not None:
        desired_state.remove_volume(tx, user, volume.id, force=True)
        if instance is not None:
            desired_state.refresh_instance(tx, instance.id)
