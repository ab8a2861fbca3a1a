"""What snapshots use: the blocks that each holds by itself, from its completion until its deletion.

A block that a snapshot has at the same place as the one that it is counted after, its parent at first, is counted for
that. When that is deleted or archived, its blocks are counted for those that still have them: no block is counted
twice. An archived one is counted as the full copy that it is.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import select

from stead_controller.db.tables import Snapshot, SnapshotTier
from stead_controller.metering import amounts, ledger, uses
from stead_controller.metering.ledger import Resource
from stead_controller.request.owners import CLOUD_ACCOUNT
from stead_controller.request.transaction import Transaction
from stead_controller.resources.storage import archived_pieces, segments
from stead_proto.blocks import BLOCK_BYTES

LEAST_ARCHIVED: Final = timedelta(days=90)
"""How long an archive is paid at least: https://docs.aws.amazon.com/ebs/latest/userguide/snapshot-archive-pricing.html."""

_ARCHIVE: Final = "archive"
_NO_ZONE: Final = ""  # snapshots are a region's


def begin(tx: Transaction, snapshot: Snapshot, now: datetime) -> None:
    """Begin to bill a snapshot that has become complete; another account's blocks are its own as well."""
    snapshot.counted_after = _before(tx, snapshot)
    _measure(tx, snapshot, now)


def end(tx: Transaction, snapshot: Snapshot, now: datetime) -> None:
    """Bill a snapshot no more; what it shared with later ones is counted for the first of these."""
    _end_tier(tx, snapshot, now)
    ledger.end(tx, _resource(snapshot), now)
    _leave(tx, snapshot, now)


def change_tier(tx: Transaction, snapshot: Snapshot, now: datetime) -> None:
    """Bill a snapshot by the tier in which it is from now on."""
    if snapshot.storage_tier == _ARCHIVE:
        _leave(tx, snapshot, now)
    _measure(tx, snapshot, now)


def restore(tx: Transaction, snapshot: Snapshot, now: datetime) -> None:
    """Bill that an archived snapshot was restored; from now on it is a full one by itself, as in EC2."""
    snapshot.counted_after = None
    retrieve(tx, snapshot, now)


def retrieve(tx: Transaction, snapshot: Snapshot, now: datetime) -> None:
    """Bill once that all of an archived snapshot is restored."""
    amounts.add(tx, [(_resource(snapshot), uses.of_retrieval(_full(snapshot)))], now)


def leave_archive(tx: Transaction, snapshot: Snapshot, archived: datetime, now: datetime) -> None:
    """Bill the rest of the least time of a snapshot that leaves the archive, in which it was since a moment."""
    _leave_early(tx, snapshot, _full(snapshot), now - archived, now)


def _end_tier(tx: Transaction, snapshot: Snapshot, now: datetime) -> None:
    """Bill a snapshot that is deleted for what it has in the archive by now, and for being restored meanwhile."""
    tier = tx.session.get(SnapshotTier, snapshot.id)
    if tier is None:
        return
    if tier.archived is not None:
        if tier.status == "in-progress":
            retrieve(tx, snapshot, now)
        leave_archive(tx, snapshot, tier.archived, now)
    elif tier.status == "in-progress":
        _leave_early(tx, snapshot, archived_pieces.blocks(tx, snapshot.id), timedelta(), now)


def _leave_early(tx: Transaction, snapshot: Snapshot, blocks: int, been: timedelta, now: datetime) -> None:
    left = LEAST_ARCHIVED - max(been, timedelta())  # not more than nothing is no amount
    use = uses.of_leaving_early(blocks, int(left.total_seconds()))
    amounts.add(tx, [(_resource(snapshot), use)], now)


def _leave(tx: Transaction, snapshot: Snapshot, now: datetime) -> None:
    """Count what a snapshot shared with later ones for the first of these that is counted."""
    before = snapshot.counted_after
    tx.session.flush()  # what the end of another one has just changed
    later = select(Snapshot).where(Snapshot.counted_after == snapshot.id).order_by(Snapshot.started, Snapshot.id)
    for each in tx.session.scalars(later).all():
        each.counted_after = before
        if _is_counted(each):
            _measure(tx, each, now)
            before = each.id


def _is_counted(snapshot: Snapshot) -> bool:
    return snapshot.state != "deleting" and snapshot.storage_tier != _ARCHIVE


def _is_archived(tx: Transaction, snapshot: Snapshot) -> bool:
    tier = tx.session.get(SnapshotTier, snapshot.id)
    return tier is not None and tier.archived is not None


def _before(tx: Transaction, snapshot: Snapshot) -> str | None:
    """Return the snapshot that a new one is counted after: its parent, or if that is deleted, the one before."""
    parent = tx.session.get(Snapshot, snapshot.parent_id) if snapshot.parent_id is not None else None
    if parent is None or parent.account_id != snapshot.account_id or parent.completed is None:
        return None
    return parent.id if _is_counted(parent) else parent.counted_after


def _measure(tx: Transaction, snapshot: Snapshot, now: datetime) -> None:
    if snapshot.account_id == CLOUD_ACCOUNT:
        return
    found = uses.of_archived_snapshot(_full(snapshot)) if _is_archived(tx, snapshot) else []
    if snapshot.storage_tier != _ARCHIVE:
        blocks = _full(snapshot)
        if snapshot.counted_after is not None:
            tx.session.flush()
            blocks = segments.own_blocks(tx, snapshot.id, snapshot.counted_after)
        found += uses.of_snapshot(blocks)
    ledger.change(tx, _resource(snapshot), found, now)


def _full(snapshot: Snapshot) -> int:
    return snapshot.stored_size // BLOCK_BYTES


def _resource(snapshot: Snapshot) -> Resource:
    return Resource(snapshot.id, snapshot.account_id, _NO_ZONE)
