"""The life cycle of a snapshot: pending, completed, failed, deleted.

A pending one is on the outbox of the host that takes it until it has ended, whichever way; the volume that it is of
stays there as long. A deleted one is invisible to all callers at once, and what it refers to is released in small
parts (`drop_some`).
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import and_, delete, exists, or_, select

from stead_controller.db.due_rows import DueRows
from stead_controller.db.tables import (
    Host,
    HostError,
    Snapshot,
    SnapshotPermission,
    SnapshotSegment,
    Volume,
    WrittenBlock,
)
from stead_controller.desired import desired_state
from stead_controller.request.transaction import Transaction
from stead_controller.resources import tags
from stead_controller.resources.storage import (
    archived_pieces,
    segments,
    snapshot_damage,
    snapshot_tier_life,
    snapshot_usage,
    stored_blocks,
    volume_life,
)
from stead_proto.v1 import desired_pb2 as desired

FAILED: Final = "The host of the volume could not take the snapshot in time."
GONE: Final = "The host of the volume is gone."
LOST: Final = "The instant is over at which other snapshots of its set were taken."
OF_SET: Final = "Another snapshot of the same instant failed."
MOVED: Final = "The volume was given to another host before the snapshot was taken."

_SEGMENTS_AT_ONCE: Final = 64
_BLOCKS_AT_ONCE: Final = 1000
_BATCH: Final = 100


def complete(tx: Transaction, snapshot: Snapshot, now: datetime, *, inherits: bool = False) -> None:
    """Complete a pending snapshot whose blocks are all in the store.

    With `inherits` it has its parent's segments where none was placed. What was found damaged meanwhile is noted: then
    it is in error until that is sound again.
    """
    if inherits and snapshot.parent_id is not None:
        segments.inherit(tx, snapshot.id, snapshot.parent_id)
    snapshot.stored_size = segments.stored_size(tx, snapshot.id)
    snapshot.state = "completed"
    snapshot.progress = 100
    snapshot.completed = now
    snapshot_usage.begin(tx, snapshot, now)
    _end(tx, snapshot)
    damaged = segments.damaged(tx, snapshot.id)
    snapshot_damage.note(tx, {digest: [snapshot.id] for digest in damaged}, now)


def fail(tx: Transaction, snapshot: Snapshot, message: str) -> None:
    """Fail a pending snapshot; it stays until it is deleted, as in EC2.

    Other pending snapshots of its set fail too: a set is only useful with all volumes at one instant.
    """
    snapshot.state = "error"
    snapshot.state_message = message
    _end(tx, snapshot)
    if snapshot.set_id is None:
        return
    others = select(Snapshot).where(Snapshot.state == "pending", Snapshot.set_id == snapshot.set_id)
    for other in tx.session.scalars(others).all():
        other.state = "error"
        other.state_message = OF_SET
        _end(tx, other)


def delete_snapshot(tx: Transaction, snapshot: Snapshot) -> None:
    """Delete a snapshot; a pending one is not taken any further.

    The caller ends the use of one that is an account's (`snapshot_usage.py`).
    """
    was_pending = snapshot.state == "pending"
    snapshot.state = "deleting"
    tags.remove_all(tx, [snapshot.id])
    tx.session.execute(delete(SnapshotPermission).where(SnapshotPermission.snapshot_id == snapshot.id))
    if was_pending:
        _end(tx, snapshot)
    desired_state.remove_unused_base(tx, snapshot.id)


def follow(tx: Transaction, volume: Volume) -> None:
    """Move pending snapshots of a volume to the host that may read it from now on, with the content at that time.

    Those of a set fail, which must be of one instant, and those with much stored already, which is of another instant.
    """
    host_id = volume.attached_host_id or volume.host_id
    pending = select(Snapshot).where(Snapshot.volume_id == volume.id, Snapshot.state == "pending")
    for snapshot in tx.session.scalars(pending).all():
        if snapshot.host_id in (None, host_id):
            continue  # of no host: the controller makes it, or it failed with another of its set, one iteration before
        if host_id is None or snapshot.set_id is not None or not segments.drop(tx, snapshot.id, _SEGMENTS_AT_ONCE):
            fail(tx, snapshot, MOVED)
            continue
        desired_state.remove_snapshot(tx, snapshot.host_id, snapshot)
        snapshot.host_id, snapshot.progress = host_id, 0
        desired_state.take_snapshots(tx, host_id, [snapshot])


def fail_late(tx: Transaction, now: datetime, patience: timedelta, silence: timedelta) -> None:
    """Fail snapshots whose hosts have failed to take them, or have been silent, for longer than `patience`."""
    failing = exists().where(
        HostError.host_id == Snapshot.host_id,
        HostError.kind == int(desired.KIND_SNAPSHOT),
        HostError.resource_id == Snapshot.id,
        HostError.since <= now - patience,
    )
    # A host that reports is not silent, whatever happened to the clock meanwhile.
    silent = exists().where(Host.id == Snapshot.host_id, Host.state != "up", Host.last_seen < now - silence)
    late = select(Snapshot, silent).where(Snapshot.state == "pending", or_(failing, silent))
    for snapshot, is_silent in tx.session.execute(late.limit(_BATCH)).all():
        if snapshot.state == "pending":  # else it failed with another of its set
            fail(tx, snapshot, GONE if is_silent else FAILED)


_IS_DOOMED: Final = or_(
    and_(Snapshot.state == "deleting", *snapshot_tier_life.unused()),
    and_(
        Snapshot.state == "error",
        ~snapshot_damage.IS_DAMAGED,
        or_(
            exists().where(SnapshotSegment.snapshot_id == Snapshot.id),
            exists().where(WrittenBlock.snapshot_id == Snapshot.id),
        ),
    ),
)

DOOMED: Final = DueRows(exists().where(_IS_DOOMED))
"""Whether there is a snapshot of which `drop_some` releases something."""


def drop_some(tx: Transaction, now: datetime) -> bool:
    """Release some of what one deleted or failed snapshot refers to; return whether there was one.

    A deleted one waits for volumes that were made of it, and for those that are taken as its children: their hosts may
    still ask for its blocks.
    """
    doomed = tx.session.scalar(select(Snapshot).where(_IS_DOOMED).limit(1))
    if doomed is None:
        return False
    emptied = (
        segments.drop(tx, doomed.id, _SEGMENTS_AT_ONCE)
        and archived_pieces.drop(tx, doomed.id, _SEGMENTS_AT_ONCE)
        and _drop_written(tx, doomed.id, now)
    )
    if emptied and doomed.state == "deleting":
        tx.session.delete(doomed)
        tx.session.flush()
    return True


def _drop_written(tx: Transaction, snapshot_id: str, now: datetime) -> bool:
    """Release some blocks that clients wrote to a snapshot; return whether none is left."""
    rows = list(
        tx.session.execute(
            select(WrittenBlock.block_index, WrittenBlock.digest)
            .where(WrittenBlock.snapshot_id == snapshot_id)
            .limit(_BLOCKS_AT_ONCE)
        )
    )
    for _, digest in rows:
        stored_blocks.release(tx, [digest], now)
    tx.session.execute(
        delete(WrittenBlock)
        .where(WrittenBlock.snapshot_id == snapshot_id, WrittenBlock.block_index.in_([row[0] for row in rows]))
        .execution_options(synchronize_session=False)
    )
    return len(rows) < _BLOCKS_AT_ONCE


def _end(tx: Transaction, snapshot: Snapshot) -> None:
    """Stop the host's work on it; a volume whose deletion waited for it is deleted now."""
    host_id, snapshot.host_id = snapshot.host_id, None
    tx.session.flush()
    if host_id is not None:
        desired_state.remove_snapshot(tx, host_id, snapshot)
    volume_life.continue_deletion(tx, snapshot.volume_id)
