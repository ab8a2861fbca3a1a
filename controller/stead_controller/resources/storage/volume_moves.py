"""A volume leaves its home for another one: its content goes to the block store, and it is laid over that elsewhere.

A snapshot of the cloud's own is taken as any other, so that a kill of any process is made good as there. When it is
complete, one transaction gives the volume its new home; the old disk is removed after that. Until then the old home has
it, and whoever wants to use it may: a move that finds the volume used since it began is of no more use.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import exists, select

from stead_controller.db.tables import (
    HostResource,
    Instance,
    Snapshot,
    UnclaimedResource,
    Volume,
    VolumeModification,
    VolumeMove,
)
from stead_controller.desired import desired_state
from stead_controller.request.cloud import Cloud
from stead_controller.request.transaction import Transaction
from stead_controller.resources.host_capacity import volume_homes
from stead_controller.resources.storage import create_snapshots, snapshot_life
from stead_proto.v1 import desired_pb2 as desired

_FAILURE_LENGTH: Final = 512


def can_begin(volume: Volume, instance: Instance | None) -> bool:
    """Tell whether nobody uses a volume: it is attached to nothing, or to an instance that is stopped."""
    if volume.instance_id is None:
        return volume.state == "available"
    return volume.attachment_state == "attached" and instance is not None and instance.state == "stopped"


def begin(tx: Transaction, volume: Volume, instance: Instance | None, now: datetime) -> None:
    """Begin to bring the content of a volume that nobody uses to the block store."""
    snapshot = create_snapshots.of_moving(tx, volume, now)
    move = VolumeMove(
        volume_id=volume.id,
        host_id=volume.host_id,
        snapshot_id=snapshot.id,
        generation=volume.generation,
        start_count=instance.start_count if instance is not None else 0,
        began=now,
        failure="",
    )
    tx.session.add(move)
    tx.session.flush()


def is_current(move: VolumeMove, volume: Volume, instance: Instance | None) -> bool:
    """Tell whether nobody uses a volume, or has used it since its move began."""
    started = instance.start_count if instance is not None else 0
    before, now = (move.host_id, move.generation, move.start_count), (volume.host_id, volume.generation, started)
    return before == now and can_begin(volume, instance)


def cancel(tx: Transaction, move: VolumeMove) -> None:
    """End a move: the volume stays where it is."""
    _drop(tx, move)
    tx.session.delete(move)
    tx.session.flush()


def fail(tx: Transaction, move: VolumeMove, reason: str) -> None:
    """Record that the content of a volume could not be brought to the block store."""
    _drop(tx, move)
    move.failure = reason[:_FAILURE_LENGTH]
    tx.session.flush()


def wait(move: VolumeMove, reason: str) -> None:
    """Record why a volume has no other home yet, although its content is in the block store."""
    move.failure = reason[:_FAILURE_LENGTH]


def _drop(tx: Transaction, move: VolumeMove) -> None:
    snapshot = tx.session.get(Snapshot, move.snapshot_id) if move.snapshot_id is not None else None
    move.snapshot_id = None
    if snapshot is not None:
        snapshot_life.delete_snapshot(tx, snapshot)


def content(tx: Transaction, move: VolumeMove) -> Snapshot | None:
    """Return the snapshot of a move."""
    return tx.session.get(Snapshot, move.snapshot_id) if move.snapshot_id is not None else None


def is_busy(tx: Transaction, volume: Volume) -> bool:
    """Tell whether a volume's home has other work with it: a snapshot or a modification."""
    taken = exists().where(Snapshot.volume_id == volume.id, Snapshot.state == "pending")
    modified = exists().where(VolumeModification.volume_id == volume.id, VolumeModification.state != "completed")
    return bool(tx.session.scalar(select(taken | modified)))


def change_home(tx: Transaction, cloud: Cloud, move: VolumeMove, volume: Volume, preferred: str | None) -> None:
    """Give a volume whose content is in the block store another home, and end its move; raises NoCapacity.

    The caller writes what the new home, and the host that may use the volume, have to know of it.
    """
    last, pool, base_id = volume.host_id, volume.pool, volume.snapshot_id
    assert last is not None
    assert move.snapshot_id is not None
    had = _had(tx, volume.id)
    volume_homes.find_home(tx, cloud, volume, None if preferred in had else preferred, but=had)
    volume_homes.release(tx, last, pool, volume.size)
    volume.home_count += 1
    volume.former_homes = ""
    if volume.origin_id is None:
        volume.origin_id = base_id or ""
    snapshot = tx.session.get_one(Snapshot, move.snapshot_id)
    volume.snapshot_id = snapshot.id
    tx.session.delete(move)
    tx.session.flush()
    snapshot_life.delete_snapshot(tx, snapshot)  # it stays while a volume is laid over it, and nobody sees it
    desired_state.leave_home(tx, last, volume, base_id)


def _had(tx: Transaction, volume_id: str) -> set[str]:
    """List the hosts that may still have an older disk of a volume, or a way to it that they have to remove."""
    removing = select(HostResource.host_id).where(
        HostResource.kind == int(desired.KIND_VOLUME),
        HostResource.resource_id == volume_id,
        HostResource.body.is_(None),
    )
    unclaimed = select(UnclaimedResource.host_id).where(UnclaimedResource.resource_id == volume_id)
    return {*tx.session.scalars(removing), *tx.session.scalars(unclaimed)}
