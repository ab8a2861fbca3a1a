"""What snapshots use: the blocks that each holds by itself, from its completion until its deletion.

A block that a snapshot has at the same place as the one that it is counted after, its parent at first, is counted for
that. When that is deleted, its blocks are counted for those that still have them: no block is counted twice.
"""

from datetime import datetime
from typing import Final

from sqlalchemy import select

from stead_controller.db.tables import Snapshot
from stead_controller.metering import ledger, uses
from stead_controller.metering.ledger import Resource
from stead_controller.request.owners import CLOUD_ACCOUNT
from stead_controller.request.transaction import Transaction
from stead_controller.resources.storage import segments
from stead_proto.blocks import BLOCK_BYTES

_NO_ZONE: Final = ""  # snapshots are a region's


def begin(tx: Transaction, snapshot: Snapshot, now: datetime) -> None:
    """Begin to bill a snapshot that has become complete; another account's blocks are its own as well."""
    snapshot.counted_after = _before(tx, snapshot)
    _measure(tx, snapshot, now)


def end(tx: Transaction, snapshot: Snapshot, now: datetime) -> None:
    """Bill a snapshot no more; what it shared with later ones is counted for the first of these."""
    ledger.end(tx, _resource(snapshot), now)
    before = snapshot.counted_after
    tx.session.flush()  # what the end of another one has just changed
    later = select(Snapshot).where(Snapshot.counted_after == snapshot.id).order_by(Snapshot.started, Snapshot.id)
    for each in tx.session.scalars(later).all():
        each.counted_after = before
        if each.state != "deleting":
            _measure(tx, each, now)
            before = each.id


def _before(tx: Transaction, snapshot: Snapshot) -> str | None:
    """Return the snapshot that a new one is counted after: its parent, or if that is deleted, the one before."""
    parent = tx.session.get(Snapshot, snapshot.parent_id) if snapshot.parent_id is not None else None
    if parent is None or parent.account_id != snapshot.account_id or parent.completed is None:
        return None
    return parent.counted_after if parent.state == "deleting" else parent.id


def _measure(tx: Transaction, snapshot: Snapshot, now: datetime) -> None:
    if snapshot.account_id == CLOUD_ACCOUNT:
        return
    blocks = snapshot.stored_size // BLOCK_BYTES
    if snapshot.counted_after is not None:
        tx.session.flush()
        blocks = segments.own_blocks(tx, snapshot.id, snapshot.counted_after)
    ledger.change(tx, _resource(snapshot), uses.of_snapshot(blocks), now)


def _resource(snapshot: Snapshot) -> Resource:
    return Resource(snapshot.id, snapshot.account_id, _NO_ZONE)
