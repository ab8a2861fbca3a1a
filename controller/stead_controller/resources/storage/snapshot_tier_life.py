"""How a snapshot gets into the archive and out of it, step by step, and what is released then.

`workflows/snapshot_tiers.py` runs the steps. What an archive needs no more, and what nobody needs of a snapshot that is
archived, is released in small parts by `release_some`, as of deleted snapshots.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, and_, delete, exists, select
from sqlalchemy.orm import aliased

from stead_controller.db.due_rows import DueRows
from stead_controller.db.tables import (
    ArchivedPiece,
    HostResource,
    Image,
    ImageBlockDevice,
    Snapshot,
    SnapshotPermission,
    SnapshotSegment,
    SnapshotTier,
    Volume,
)
from stead_controller.request.transaction import Transaction
from stead_controller.resources.storage import archived_pieces, segments, snapshot_damage, snapshot_usage
from stead_proto.v1 import desired_pb2 as desired
from stead_proto.v1.blocks_pb2 import Segment

ARCHIVE: Final = "archive-snapshot"
RESTORE: Final = "restore-snapshot"
"""The kinds of workflows; their subjects are the operations' ids."""

IN_USE: Final = "An image uses the snapshot."
_AT_ONCE: Final = 64
_DETAIL_LENGTH: Final = 512
_BATCH: Final = 100


@dataclass(frozen=True, slots=True)
class Work:
    """What an operation is about: a snapshot, whether it is encrypted, and where its segments, or its pieces, are."""

    snapshot_id: str
    encrypted: bool
    positions: tuple[int, ...]


def find_archival(tx: Transaction, operation_id: str, snapshot_id: str) -> Work | None:
    """Return what is to be archived; None when that is over, or the snapshot is deleted."""
    found = _find(tx, operation_id, snapshot_id)
    if found is None:
        return None
    return Work(snapshot_id, found[0].encrypted, tuple(segments.positions(tx, snapshot_id)))


def find_restore(tx: Transaction, operation_id: str, snapshot_id: str) -> Work | None:
    """Return what is to be restored; None when that is over, or the snapshot is deleted."""
    found = _find(tx, operation_id, snapshot_id)
    if found is None:
        return None
    return Work(snapshot_id, found[0].encrypted, tuple(archived_pieces.positions(tx, snapshot_id)))


def place_piece(  # noqa: PLR0917 - whose piece, where, and of what
    tx: Transaction, operation_id: str, snapshot_id: str, position: int, chunks: Sequence[bytes], blocks: int
) -> bool:
    """Put a piece into an archive; false when that is over. Raises MissingBlocksError."""
    if _find(tx, operation_id, snapshot_id) is None:
        return False
    archived_pieces.place(tx, snapshot_id, position, list(chunks), blocks)
    return True


def put_segment(tx: Transaction, operation_id: str, snapshot_id: str, segment: Segment) -> bool:
    """Put a restored segment into its snapshot; false when that is over. Raises BadBlockError, MissingBlocksError."""
    found = _find(tx, operation_id, snapshot_id)
    if found is None:
        return False
    segments.put(tx, found[0], segment)
    return True


def progress(tx: Transaction, operation_id: str, snapshot_id: str, percent: int) -> None:
    """Note how far an operation is."""
    found = _find(tx, operation_id, snapshot_id)
    if found is not None:
        found[1].progress = percent


def finish_archival(tx: Transaction, operation_id: str, snapshot_id: str, now: datetime) -> None:
    """Archive a snapshot all of whose pieces are in the archive: it is shared no more, and can be used no more.

    It fails where an image that can be launched uses the snapshot by now.
    """
    found = _find(tx, operation_id, snapshot_id)
    if found is None:
        return
    snapshot, tier = found
    if image_of(tx, snapshot) is not None:
        fail(tx, operation_id, snapshot_id, IN_USE)
        return
    tier.status, tier.progress, tier.archived = "completed", 100, now
    _put_away(tx, snapshot, now)


def finish_restore(tx: Transaction, snapshot: Snapshot, tier: SnapshotTier, days: int | None, now: datetime) -> None:
    """Make a snapshot usable, for some days from now on, or for ever: then its archive is given up."""
    tier.status, tier.progress = "completed", 100
    tier.restore_days = days
    tier.restore_expiry = None if days is None else now + timedelta(days=days)
    if snapshot.storage_tier == "archive":
        snapshot.storage_tier = "standard"
        snapshot_usage.restore(tx, snapshot, now)
    if days is None and tier.archived is not None:
        snapshot_usage.leave_archive(tx, snapshot, tier.archived, now)
        tier.archived = None
    tx.session.flush()
    snapshot_usage.change_tier(tx, snapshot, now)


def complete_restore(tx: Transaction, operation_id: str, snapshot_id: str, now: datetime) -> None:
    """Finish to restore a snapshot all of whose segments are there again."""
    found = _find(tx, operation_id, snapshot_id)
    if found is not None:
        finish_restore(tx, *found, found[1].restore_days, now)


def fail(tx: Transaction, operation_id: str, snapshot_id: str, message: str) -> None:
    """Record that an operation failed; the snapshot stays in the tier in which it is."""
    found = _find(tx, operation_id, snapshot_id)
    if found is not None:
        found[1].status, found[1].detail = "failed", message[:_DETAIL_LENGTH]


def archive_again(tx: Transaction, now: datetime) -> None:
    """End the time for which snapshots were restored: they are only in the archive again."""
    due = (
        select(Snapshot)
        .join(SnapshotTier, SnapshotTier.snapshot_id == Snapshot.id)
        .where(SnapshotTier.restore_expiry <= now, Snapshot.state != "deleting")
        .limit(_BATCH)
    )
    for snapshot in tx.session.scalars(due).all():
        tier = tx.session.get_one(SnapshotTier, snapshot.id)
        tier.restore_expiry = tier.restore_days = None
        _put_away(tx, snapshot, now)


def unused() -> tuple[ColumnElement[bool], ...]:
    """Conditions of a snapshot whose blocks no host may ask for, and no other snapshot that is taken."""
    child = aliased(Snapshot)
    return (
        ~exists().where(child.parent_id == Snapshot.id, child.state == "pending"),
        ~exists().where(Volume.snapshot_id == Snapshot.id),
        ~exists().where(
            HostResource.resource_id == Snapshot.id,
            HostResource.kind == int(desired.KIND_BASE),
            HostResource.body.is_not(None),
        ),
    )


_ENDED: Final = select(SnapshotTier.snapshot_id).where(SnapshotTier.status != "in-progress")
_IS_OVER: Final = and_(
    Snapshot.id.in_(_ENDED.where(SnapshotTier.archived.is_not(None))),
    Snapshot.storage_tier == "archive",
    Snapshot.state != "deleting",
    exists().where(SnapshotSegment.snapshot_id == Snapshot.id),
    *unused(),
)
_IS_GIVEN_UP: Final = and_(
    Snapshot.id.in_(_ENDED.where(SnapshotTier.archived.is_(None))),
    Snapshot.state != "deleting",
    exists().where(ArchivedPiece.snapshot_id == Snapshot.id),
)

RELEASABLE: Final = DueRows(exists().where(_IS_OVER) | exists().where(_IS_GIVEN_UP))
"""Whether there is a snapshot of which `release_some` releases something."""


def release_some(tx: Transaction) -> bool:
    """Release some of an archived snapshot's segments, or of a given up archive's pieces; tell whether there was one.

    Segments wait for volumes that were made of the snapshot, and for snapshots that are taken as its children.
    """
    for condition, drop in ((_IS_OVER, segments.drop), (_IS_GIVEN_UP, archived_pieces.drop)):
        snapshot = tx.session.scalar(select(Snapshot).where(condition).limit(1))
        if snapshot is not None:
            if drop(tx, snapshot.id, _AT_ONCE):
                snapshot_damage.forget_all_but(tx, snapshot.id, segments.damaged(tx, snapshot.id))
            return True
    return False


def image_of(tx: Transaction, snapshot: Snapshot) -> str | None:
    """Return an image of a snapshot's owner that can be launched with it, or could be soon; None if there is none."""
    images = (
        select(Image.id)
        .join(ImageBlockDevice, ImageBlockDevice.image_id == Image.id)
        .where(
            ImageBlockDevice.snapshot_id == snapshot.id,
            Image.state.not_in(("deregistered", "disabled")),
            Image.account_id == snapshot.account_id,
        )
    )
    return tx.session.scalar(images.order_by(Image.id).limit(1))


def _find(tx: Transaction, operation_id: str, snapshot_id: str) -> tuple[Snapshot, SnapshotTier] | None:
    """Return the snapshot of an operation that is not over."""
    snapshot, tier = tx.session.get(Snapshot, snapshot_id), tx.session.get(SnapshotTier, snapshot_id)
    if snapshot is None or snapshot.state == "deleting" or tier is None:
        return None
    return (snapshot, tier) if (tier.operation_id, tier.status) == (operation_id, "in-progress") else None


def _put_away(tx: Transaction, snapshot: Snapshot, now: datetime) -> None:
    """Move a snapshot to the archive, as of which all of it is there."""
    snapshot.storage_tier = "archive"
    snapshot.public = snapshot.public_blocked = False
    tx.session.execute(delete(SnapshotPermission).where(SnapshotPermission.snapshot_id == snapshot.id))
    tx.session.flush()
    snapshot_usage.change_tier(tx, snapshot, now)
